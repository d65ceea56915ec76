"""Environments over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.responses import Response

from publisher import environments, evaluations, names
from publisher.api.bodies import Body
from publisher.api.operation import Call, Operation, Query, json_response
from publisher.api.paging import Page
from publisher.api.projects import Name, Version
from publisher.environments import Environment
from publisher.errors import InvalidError
from publisher.evaluations import Usage

__all__ = ["OPERATIONS"]


def _key(text: str) -> str:
    try:
        return names.checked_key(text)
    except InvalidError as error:
        raise ValueError(error.faults[0].message) from None


_PATTERN = {"pattern": "^[A-Za-z0-9_-]{1,128}$"}


class EnvironmentNew(Body):
    """An environment to make; without a key one is made up."""

    name: Name
    key: Annotated[str, AfterValidator(_key), Field(json_schema_extra=_PATTERN)] | None = None


class EnvironmentPatch(Body):
    """An environment's new name."""

    name: Name
    version: Version = None


class Days(Query):
    """How far back."""

    days: Annotated[int, Field(ge=1, le=3660, description="days back, today included")] = 30


async def listed(call: Call) -> Response:
    page = call.query(Page)
    async with call.store.read() as session:
        number = call.number("project", "project")
        found = await environments.listed(session, number, after=page.after, limit=page.limit + 1)
    items = found[: page.limit]
    return call.page(items, items[-1].id if len(found) > page.limit else None)


async def create(call: Call) -> Response:
    body = await call.body(EnvironmentNew)
    async with call.store.change(call.actor) as change:
        number = call.number("project", "project")
        environment = await environments.create(change, number, body.name, body.key)
    return call.one(environment, status=201, location=f"/api/environments/{environment.key}")


async def get(call: Call) -> Response:
    async with call.store.read() as session:
        # No 304: `updated_at` and `pushed` move on while the environment's own version stays.
        environment = await environments.get(session, call.text("key"))
    return json_response(environment, headers={"ETag": f'"{environment.version}"'})


async def rename(call: Call) -> Response:
    body = await call.body(EnvironmentPatch)
    async with call.store.change(call.actor) as change:
        expected = call.expected(body.version)
        environment = await environments.rename(change, call.text("key"), body.name, expected)
    return call.one(environment)


async def remove(call: Call) -> Response:
    async with call.store.change(call.actor) as change:
        await environments.remove(change, call.text("key"), call.expected())
    return Response(None, 204)


async def usage(call: Call) -> Response:
    wanted = call.query(Days)
    async with call.store.read() as session:
        items = await evaluations.listed(session, call.text("key"), days=wanted.days)
    return call.page(items, None)


_ALL = "/api/projects/{project}/environments"
_ONE = "/api/environments/{key}"
OPERATIONS = [
    Operation(
        method="GET",
        path=_ALL,
        handler=listed,
        summary="List a project's environments",
        tag="environments",
        answers={200: list[Environment]},
        refusals=("not-found",),
        query=Page,
    ),
    Operation(
        method="POST",
        path=_ALL,
        handler=create,
        summary="Make an environment, which is announced",
        tag="environments",
        answers={201: Environment},
        refusals=("not-found", "duplicate"),
        body=EnvironmentNew,
    ),
    Operation(
        method="GET",
        path=_ONE,
        handler=get,
        summary="Read an environment",
        tag="environments",
        answers={200: Environment},
        refusals=("not-found",),
        conditional=True,
    ),
    Operation(
        method="PATCH",
        path=_ONE,
        handler=rename,
        summary="Rename an environment; its key stays",
        tag="environments",
        answers={200: Environment},
        refusals=("not-found", "duplicate", "stale-version", "stale"),
        body=EnvironmentPatch,
        conditional=True,
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        handler=remove,
        summary="Delete an environment; its documents answer 401 from then on",
        tag="environments",
        answers={204: None},
        refusals=("not-found", "stale"),
        conditional=True,
    ),
    Operation(
        method="GET",
        path="/api/environments/{key}/analytics",
        handler=usage,
        summary="How often apps evaluated each feature, by day (UTC)",
        tag="environments",
        answers={200: list[Usage]},
        refusals=("not-found",),
        query=Days,
    ),
]
