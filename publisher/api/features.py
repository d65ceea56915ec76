"""Features over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from starlette.responses import Response

from publisher import features, names, values
from publisher.api.bodies import Body
from publisher.api.operation import Call, Operation
from publisher.api.paging import Page
from publisher.api.projects import FeatureName, Version
from publisher.errors import InvalidError
from publisher.features import Feature

__all__ = ["OPERATIONS", "Value"]


def _value(value: Any) -> Any:
    try:
        values.to_text(value)
    except InvalidError as error:
        raise ValueError(error.faults[0].message) from None
    return value


def _description(text: str) -> str:
    if fault := names.text_fault(text, longest=names.DESCRIPTION_LENGTH, lines=True):
        raise ValueError(fault)
    return text


Value = Annotated[
    Any,
    AfterValidator(_value),
    Field(description=f"any JSON value of at most {values.VALUE_LENGTH} characters as JSON"),
]
Description = Annotated[
    str, AfterValidator(_description), Field(json_schema_extra={"maxLength": names.DESCRIPTION_LENGTH})
]


class FeatureNew(Body):
    """A feature to make, with its state in every environment that there is and will be."""

    name: FeatureName
    description: Description = ""
    enabled: bool = False
    value: Value = None


class FeaturePatch(Body):
    """What is to change of a feature; its states are changed in their environments."""

    name: FeatureName | None = None
    description: Description | None = None
    version: Version = None

    @model_validator(mode="before")
    @classmethod
    def _something(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.keys() <= {"version"}:
            raise ValueError("give name or description, or both")
        return content


async def listed(call: Call) -> Response:
    page = call.query(Page)
    async with call.store.read() as session:
        number = call.number("project", "project")
        found = await features.listed(session, number, after=page.after, limit=page.limit + 1)
    items = found[: page.limit]
    return call.page(items, items[-1].id if len(found) > page.limit else None)


async def create(call: Call) -> Response:
    body = await call.body(FeatureNew)
    async with call.store.change(call.actor) as change:
        feature = await features.create(
            change,
            call.number("project", "project"),
            body.name,
            description=body.description,
            enabled=body.enabled,
            value=body.value,
        )
    return call.one(feature, status=201)


async def get(call: Call) -> Response:
    async with call.store.read() as session:
        return call.one(await features.get(session, call.number("project", "project"), call.text("name")))


async def update(call: Call) -> Response:
    body = await call.body(FeaturePatch)
    async with call.store.change(call.actor) as change:
        feature = await features.update_one(
            change,
            call.number("project", "project"),
            call.text("name"),
            new_name=body.name,
            description=body.description,
            expected=call.expected(body.version),
        )
    return call.one(feature)


async def remove(call: Call) -> Response:
    async with call.store.change(call.actor) as change:
        number = call.number("project", "project")
        await features.remove(change, number, call.text("name"), call.expected())
    return Response(None, 204)


_ALL = "/api/projects/{project}/features"
_ONE = "/api/projects/{project}/features/{name}"
OPERATIONS = [
    Operation(
        method="GET",
        path=_ALL,
        handler=listed,
        summary="List a project's features",
        tag="features",
        answers={200: list[Feature]},
        refusals=("not-found",),
        query=Page,
    ),
    Operation(
        method="POST",
        path=_ALL,
        handler=create,
        summary="Make a feature; every environment of the project is announced",
        tag="features",
        answers={201: Feature},
        refusals=("not-found", "duplicate"),
        body=FeatureNew,
    ),
    Operation(
        method="GET",
        path=_ONE,
        handler=get,
        summary="Read a feature",
        tag="features",
        answers={200: Feature},
        refusals=("not-found",),
        conditional=True,
    ),
    Operation(
        method="PATCH",
        path=_ONE,
        handler=update,
        summary="Rename or describe a feature; a new name is announced in every environment",
        tag="features",
        answers={200: Feature},
        refusals=("not-found", "duplicate", "stale-version", "stale"),
        body=FeaturePatch,
        conditional=True,
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        handler=remove,
        summary="Delete a feature; every environment of the project is announced",
        tag="features",
        answers={204: None},
        refusals=("not-found", "stale"),
        conditional=True,
    ),
]
