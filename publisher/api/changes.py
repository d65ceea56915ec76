"""The change log over HTTP, and the same as annotations for Grafana."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from starlette.responses import Response

from publisher import changes, grafana
from publisher.api.operation import Call, Operation, Query, json_response
from publisher.api.paging import Limit
from publisher.changes import Action, Change
from publisher.grafana import Annotation
from publisher.messages import InvalidVersionError, parse_version
from publisher.models import KEY_LENGTH
from publisher.names import text_fault
from publisher.projects import LARGEST_ID

__all__ = ["OPERATIONS"]


def _text(text: str) -> str:
    if fault := text_fault(text, longest=KEY_LENGTH):
        raise ValueError(fault)
    return text


def _moment(value: Any) -> int:
    text = str(value)
    try:
        # A '+' that was not percent-encoded arrives as a space.
        moment = float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else text.replace(" ", "+")
        version = parse_version(moment)
    except InvalidVersionError as error:
        raise ValueError(str(error)) from None
    if version > LATEST:
        raise ValueError("is too far in the future; it is in Unix seconds or ISO 8601")
    return version


LATEST = int(datetime(9999, 1, 1).timestamp()) * 1_000_000  # noqa: DTZ001 - a bound, to the day
"""Microseconds; both databases keep more than this."""

Text = Annotated[str, AfterValidator(_text)]
Moment = Annotated[
    int,
    BeforeValidator(_moment),
    Field(json_schema_extra={"type": ["number", "string"]}, description="Unix seconds or ISO 8601"),
]


class ChangeQuery(Query):
    """Which lines of the change log, newest first."""

    project: Annotated[Text | None, Field(description="name of the project then")] = None
    environment: Annotated[Text | None, Field(description="key of the environment")] = None
    feature: Annotated[Text | None, Field(description="name of the feature then")] = None
    actor: Annotated[Text | None, Field(description="name of the token")] = None
    action: Action | None = None
    since: Moment | None = None
    until: Annotated[Moment | None, Field(description="exclusive")] = None
    pushed: Annotated[bool | None, Field(description="whether the broker has it")] = None
    limit: Limit = 100
    before: Annotated[int | None, Field(ge=0, le=LARGEST_ID, description="go on below the line with this id")] = None


_MILLISECONDS = Field(ge=0, le=LATEST // 1000, description="milliseconds since the Unix epoch")


class AnnotationQuery(Query):
    """The time range of a graph; `from` and `to` are milliseconds, as Grafana sends them."""

    from_: Annotated[int, _MILLISECONDS] = Field(alias="from")
    to: Annotated[int, _MILLISECONDS]
    project: Text | None = None
    environment: Text | None = None
    feature: Text | None = None


async def listed(call: Call) -> Response:
    wanted = call.query(ChangeQuery)
    only = changes.Filter(**wanted.model_dump(exclude={"limit", "before"}))
    async with call.store.read() as session:
        found = await changes.listed(session, only, before=wanted.before, limit=wanted.limit + 1)
    items = found[: wanted.limit]
    return call.page(items, items[-1].id if len(found) > wanted.limit else None, cursor="before")


async def annotated(call: Call) -> Response:
    wanted = call.query(AnnotationQuery)
    only = changes.Filter(
        since=wanted.from_ * 1000,
        until=(wanted.to + 1) * 1000,
        project=wanted.project,
        environment=wanted.environment,
        feature=wanted.feature,
    )
    async with call.store.read() as session:
        return json_response(await grafana.listed(session, only))


OPERATIONS = [
    Operation(
        method="GET",
        path="/api/changes",
        handler=listed,
        summary="Read the change log: who changed what, when, and when it was pushed",
        tag="changes",
        answers={200: list[Change]},
        query=ChangeQuery,
    ),
    Operation(
        method="GET",
        path="/api/annotations",
        handler=annotated,
        summary="Changes as annotations for Grafana",
        tag="changes",
        answers={200: tuple[Annotation, ...]},
        query=AnnotationQuery,
    ),
]
