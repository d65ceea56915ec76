"""The OpenAPI 3.1 document, made from the operations that are mounted, so that the two cannot differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec

from publisher.api.bodies import Body
from publisher.api.operation import Operation
from publisher.api.problems import CODES, Problem

__all__ = ["document"]

_REF = "#/components/schemas/{name}"
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "admin": [{"bearer": []}],
    "sse": [{"sse_token": []}],
    "environment": [{"environment_key": []}],
    "none": [],
}
_DESCRIPTION = """Projects hold features and environments; every feature has a state in every environment. A change of
a state is announced to all open streams of its environment.

Lists answer `{"items": […], "next": …}`; `next` is the address of the following part, null at the end. Errors are
problem documents (RFC 9457) that name the fields. Times are Unix seconds. Every write and every read of one thing
carries an `ETag`; `If-Match` with a stale one answers 412, a stale `version` in the body 409, and without either the
last write wins."""


def document(operations: Iterable[Operation], *, version: str) -> dict[str, Any]:
    """Return the document."""
    components: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, components)
    _struct(Problem, components)
    components["Detail"] = {
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"type": "string"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Flagstream publisher", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An admin token."},
                "sse_token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Token` and the publisher's sse_token.",
                },
                "environment_key": {"type": "apiKey", "in": "header", "name": "X-Environment-Key"},
            },
        },
    }


def _operation(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{re.sub(r'[^a-z0-9]+', '_', operation.path)}".rstrip("_"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": _SECURITY[operation.access],
        "parameters": _parameters(operation),
        "responses": _responses(operation, components),
    }
    if operation.notes:
        content["description"] = operation.notes
    if operation.body is not None:
        content["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _model(operation.body, components)}},
        }
    elif operation.any_body:
        content["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    return content


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in re.findall(r"{(\w+)}", operation.path):
        schema = {"type": "integer"} if name in {"project", "token"} else {"type": "string"}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if operation.query is not None:
        query = operation.query.model_json_schema(by_alias=True)
        for name, each in query["properties"].items():
            parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in query.get("required", [])}
            if "description" in each:
                parameter["description"] = each.pop("description")
            found.append({**parameter, "schema": each})
    if operation.conditional:
        name = "If-None-Match" if operation.method == "GET" else "If-Match"
        found.append({"name": name, "in": "header", "required": False, "schema": {"type": "string"}})
    return found


def _responses(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, of in operation.answers.items():
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if of is str:
            response["content"] = {"text/html": {"schema": {"type": "string"}}}
        elif of is not None:
            response["content"] = {"application/json": {"schema": _schema(of, components)}}
        if operation.conditional and status != HTTPStatus.NO_CONTENT:
            response["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "the version, quoted"}}
        responses[str(status)] = response
    if operation.conditional and operation.method == "GET":
        responses["304"] = {"description": "The ETag is still the same"}
    for code in refusals(operation):
        status, meaning = CODES[code]
        if operation.details:
            status = HTTPStatus.BAD_REQUEST if code == "invalid" else status
            body = {"application/json": {"schema": {"$ref": _REF.format(name="Detail")}}}
        else:
            body = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
        known = responses.get(str(int(status)))
        text = f"`{code}`: {meaning}"
        if known is None:
            responses[str(int(status))] = {"description": text, "content": body}
        else:
            known["description"] = f"{known['description']} {text}"
    return responses


def refusals(operation: Operation) -> list[str]:
    """Return the codes of all problems that an operation can answer with."""
    found = list(operation.refusals)
    if operation.access != "none":
        found.append("unauthorized")
    if operation.access == "admin" and operation.method != "GET":
        found.append("forbidden")
    if operation.body is not None or operation.any_body:
        found += ["malformed", "too-large", "invalid"]
    if operation.body is not None:
        found.append("media-type")
    if operation.query is not None or operation.access == "environment":
        found.append("invalid")
    if operation.access != "none":
        found.append("unavailable")
    return sorted(set(found), key=lambda code: CODES[code][0])


def _schema(of: Any, components: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer; a list type stands for a page of it, a tuple type for a bare array."""
    origin = get_origin(of)
    if origin is list:
        page = {"items": {"type": "array", "items": _schema(get_args(of)[0], components)}}
        page["next"] = {"type": ["string", "null"], "description": "where the list goes on"}
        return {"type": "object", "required": ["items", "next"], "properties": page}
    if origin is tuple:
        return {"type": "array", "items": _schema(get_args(of)[0], components)}
    if origin is dict or of is dict:
        return {"type": "object"}
    return _struct(of, components)


def _struct(of: type, components: dict[str, Any]) -> dict[str, Any]:
    (schema,), found = msgspec.json.schema_components([of], ref_template=_REF)
    components.update(found)
    return schema


def _model(of: type[Body], components: dict[str, Any]) -> dict[str, Any]:
    schema = of.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(schema.pop("$defs", {}))
    components[of.__name__] = schema
    return {"$ref": _REF.format(name=of.__name__)}
