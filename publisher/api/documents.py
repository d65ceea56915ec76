"""Flag documents over HTTP: the four paths that SDKs ask, and that a stream server has for its upstream."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from starlette.responses import Response

from publisher import documents
from publisher.api import bodies
from publisher.api.operation import Call, Handler, Operation, json_response
from publisher.api.problems import UnauthorizedError
from publisher.documents import Flags
from publisher.errors import Fault, InvalidError
from publisher.evaluations import LARGEST_COUNT, Evaluations

__all__ = ["operations"]

LONGEST = 2000
"""Characters of an identifier, a trait's name and a trait's text value, as in Flagsmith."""


async def flags(call: Call) -> Response:
    found = await _flags(call)
    return _document(found, found.flags())


async def identity_by_query(call: Call) -> Response:
    found = await _flags(call)
    identifier = _identifier(call.request.query_params.get("identifier"))
    return _document(found, documents.identity_document(found, identifier, []))


async def identity_by_body(call: Call) -> Response:
    found = await _flags(call)
    content = bodies.parse(await call.raw(any_type=True))
    if not isinstance(content, dict):
        raise InvalidError(Fault("body", "must be a JSON object"))
    traits = _traits(content.get("traits"))
    given = content.get("identifier")
    if (given is None or given == "") and content.get("transient"):
        # An anonymous user: named by its traits, so that the same traits are the same user.
        given = hashlib.sha256(msgspec.json.encode(traits, order="sorted")).hexdigest()
    return _document(found, documents.identity_document(found, _identifier(given), traits))


async def environment(call: Call) -> Response:
    if not _key(call).startswith(documents.SERVER_KEY):
        raise UnauthorizedError(f"the environment document needs a server key, which begins {documents.SERVER_KEY}")
    found = await _flags(call)
    return _document(found, documents.environment_document(found))


def analytics(evaluations: Evaluations) -> Handler:
    """Return the handler that stores counts in `evaluations`."""

    async def take(call: Call) -> Response:
        found = await _flags(call)
        content = bodies.parse(await call.raw(any_type=True))
        if not isinstance(content, dict):
            raise InvalidError(Fault("body", 'must be a JSON object of counts, as in {"my_feature": 3}'))
        for feature, count in content.items():
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= LARGEST_COUNT:
                raise InvalidError(Fault(_shown(feature), f"must be a whole number from 0 to {LARGEST_COUNT}"))
        names = {row.name for row in found.states}
        counts = {feature: count for feature, count in content.items() if count and feature in names}
        if counts:
            await evaluations.add(found.environment_id, counts)
        return _document(found, {})

    return take


def _key(call: Call) -> str:
    return call.request.headers.get("x-environment-key", "")


async def _flags(call: Call) -> Flags:
    found = await documents.read(call.store.database, _key(call))
    if found is None:
        raise UnauthorizedError("Invalid or missing environment key: send it as X-Environment-Key")
    return found


def _document(found: Flags, content: Any) -> Response:
    whole, micros = divmod(found.version, 1_000_000)
    headers = {
        "X-Flagstream-Version": str(found.version),
        "X-Flagsmith-Document-Updated-At": f"{whole}.{micros:06d}",
        "X-Flagstream-Environment": found.environment,
    }
    return json_response(content, headers=headers)


def _identifier(given: Any) -> str:
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or not given:
        raise InvalidError(Fault("identifier", "must be given, as text"))
    _check_text("identifier", given)
    return given


def _traits(given: Any) -> list[dict[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise InvalidError(Fault("traits", 'must be a list, as in [{"trait_key": "plan", "trait_value": "free"}]'))
    traits = []
    for number, trait in enumerate(given):
        field = f"traits.{number}"
        if not isinstance(trait, dict) or not isinstance(trait.get("trait_key"), str) or "trait_value" not in trait:
            raise InvalidError(Fault(field, "must be an object with trait_key (text) and trait_value"))
        value = trait["trait_value"]
        if isinstance(value, dict | list):
            raise InvalidError(Fault(f"{field}.trait_value", "must be text, a number, true, false or null"))
        _check_text(f"{field}.trait_key", trait["trait_key"])
        if isinstance(value, str):
            _check_text(f"{field}.trait_value", value)
        traits.append({"trait_key": trait["trait_key"], "trait_value": value})
    return traits


def _check_text(field: str, text: str) -> None:
    if len(text) > LONGEST:
        raise InvalidError(Fault(field, f"must be at most {LONGEST} characters"))
    if _shown(text) != text:
        raise InvalidError(Fault(field, "must not contain half of a surrogate pair"))


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


_HEADERS = (
    "Needs `X-Environment-Key`. The answer's `X-Flagstream-Version` (microseconds) and "
    "`X-Flagsmith-Document-Updated-At` (seconds) are never newer than its flags."
)


def operations(evaluations: Evaluations) -> list[Operation]:
    """Return the operations of the four paths."""

    def one(method: str, path: str, handler: Handler, summary: str, answer: Any, *, body: bool = False) -> Operation:
        return Operation(
            method=method,
            path=f"/api/v1/{path}",
            handler=handler,
            summary=summary,
            tag="documents",
            answers={200: answer},
            any_body=body,
            access="environment",
            details=True,
            notes=_HEADERS,
        )

    anything = dict[str, Any]
    return [
        one("GET", "flags", flags, "All flags of an environment", tuple[anything, ...]),
        one("GET", "identities", identity_by_query, "Flags for one user, by ?identifier=", anything),
        one("POST", "identities", identity_by_body, "Flags for one user with traits", anything, body=True),
        one("GET", "environment-document", environment, "Everything for local evaluation (server key)", anything),
        one("POST", "analytics/flags", analytics(evaluations), "Report evaluations", anything, body=True),
    ]
