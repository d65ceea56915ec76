"""Projects over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.responses import Response

from publisher import names, projects
from publisher.api.bodies import Body
from publisher.api.operation import Call, Operation
from publisher.api.paging import Page
from publisher.errors import InvalidError
from publisher.models import NAME_LENGTH
from publisher.projects import LARGEST_ID, Project

__all__ = ["OPERATIONS", "FeatureName", "Name", "Version"]


def _name(text: str) -> str:
    return _named(text, in_path=False)


def _feature_name(text: str) -> str:
    return _named(text, in_path=True)


def _named(text: str, *, in_path: bool) -> str:
    try:
        return names.checked(text, in_path=in_path)
    except InvalidError as error:
        raise ValueError(error.faults[0].message) from None


_SIZE = {"minLength": 1, "maxLength": NAME_LENGTH}
Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra=_SIZE)]
"""1 to 100 characters, no control characters, no space at the ends."""
FeatureName = Annotated[str, AfterValidator(_feature_name), Field(json_schema_extra=_SIZE)]
"""The same, and no slash."""
Version = Annotated[int | None, Field(ge=0, le=LARGEST_ID, description="the version you saw; stale gives 409")]


class ProjectNew(Body):
    """A project to make."""

    name: Name


class ProjectPatch(Body):
    """A project's new name."""

    name: Name
    version: Version = None


async def listed(call: Call) -> Response:
    page = call.query(Page)
    async with call.store.read() as session:
        found = await projects.listed(session, after=page.after, limit=page.limit + 1)
    items = found[: page.limit]
    return call.page(items, items[-1].id if len(found) > page.limit else None)


async def create(call: Call) -> Response:
    body = await call.body(ProjectNew)
    async with call.store.change(call.actor) as change:
        project = await projects.create(change, body.name)
    return call.one(project, status=201, location=f"/api/projects/{project.id}")


async def get(call: Call) -> Response:
    async with call.store.read() as session:
        return call.one(await projects.get(session, call.number("project", "project")))


async def rename(call: Call) -> Response:
    body = await call.body(ProjectPatch)
    async with call.store.change(call.actor) as change:
        number = call.number("project", "project")
        project = await projects.rename(change, number, body.name, call.expected(body.version))
    return call.one(project)


async def remove(call: Call) -> Response:
    async with call.store.change(call.actor) as change:
        await projects.remove(change, call.number("project", "project"), call.expected())
    return Response(None, 204)


_ONE = "/api/projects/{project}"
OPERATIONS = [
    Operation(
        method="GET",
        path="/api/projects",
        handler=listed,
        summary="List projects",
        tag="projects",
        answers={200: list[Project]},
        query=Page,
    ),
    Operation(
        method="POST",
        path="/api/projects",
        handler=create,
        summary="Make a project",
        tag="projects",
        answers={201: Project},
        refusals=("duplicate",),
        body=ProjectNew,
    ),
    Operation(
        method="GET",
        path=_ONE,
        handler=get,
        summary="Read a project",
        tag="projects",
        answers={200: Project},
        refusals=("not-found",),
        conditional=True,
    ),
    Operation(
        method="PATCH",
        path=_ONE,
        handler=rename,
        summary="Rename a project",
        tag="projects",
        answers={200: Project},
        refusals=("not-found", "duplicate", "stale-version", "stale"),
        body=ProjectPatch,
        conditional=True,
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        handler=remove,
        summary="Delete a project with its environments and features",
        tag="projects",
        answers={204: None},
        refusals=("not-found", "stale"),
        conditional=True,
    ),
]
