"""What the API says of itself and of the moment: its document, a page of it, the time, open streams, edges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import msgspec
from pydantic import Field
from starlette.responses import HTMLResponse, Response

from publisher.api.operation import Call, Operation, Query, json_response
from publisher.counts import Streams
from publisher.edges import Edges
from publisher.errors import Fault, InvalidError
from publisher.messages import is_key, now

__all__ = ["Counts", "EdgeCounts", "Time", "operations"]

MOST_KEYS = 200
"""Environments in one question for streams."""


class Time(msgspec.Struct, frozen=True):
    """The publisher's clock in microseconds since the Unix epoch."""

    now: int


Counts = Callable[[Sequence[str]], Awaitable[Streams]]
"""Asks the stream servers how many streams each environment has."""

EdgeCounts = Callable[[], Awaitable[Edges]]
"""Asks the edges what they carry."""


class StreamQuery(Query):
    """Which environments; repeat `environment` for several."""

    environment: Annotated[list[str], Field(max_length=MOST_KEYS, default_factory=list)]

    @classmethod
    def lists(cls) -> set[str]:
        return {"environment"}


def operations(
    document: Callable[[], bytes], page: Callable[[], str], counts: Counts, edge_counts: EdgeCounts
) -> list[Operation]:
    """Return the operations; `document` and `page` are made when they are first asked for."""

    async def time(_: Call) -> Response:
        return json_response(Time(now()))

    async def streams(call: Call) -> Response:
        keys = call.query(StreamQuery).environment
        if not all(is_key(key) for key in keys):
            raise InvalidError(Fault("environment", "must be environment keys"))
        return json_response(await counts(keys))

    async def edges(_: Call) -> Response:
        return json_response(await edge_counts())

    async def openapi(_: Call) -> Response:
        return Response(document(), media_type="application/json")

    async def docs(_: Call) -> Response:
        return HTMLResponse(
            page(), headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        )

    return [
        Operation(
            method="GET",
            path="/api/time",
            handler=time,
            summary="The publisher's clock",
            tag="about",
            answers={200: Time},
            access="none",
        ),
        Operation(
            method="GET",
            path="/api/streams",
            handler=streams,
            summary="How many streams environments have now",
            tag="about",
            answers={200: Streams},
            query=StreamQuery,
        ),
        Operation(
            method="GET",
            path="/api/edges",
            handler=edges,
            summary="How many clients edges have now, and how many streams they take from the stream servers",
            tag="about",
            answers={200: Edges},
        ),
        Operation(
            method="GET",
            path="/api/openapi.json",
            handler=openapi,
            summary="This document",
            tag="about",
            answers={200: dict},
            access="none",
        ),
        Operation(
            method="GET",
            path="/api/docs",
            handler=docs,
            summary="This document as a page",
            tag="about",
            answers={200: str},
            access="none",
        ),
    ]
