"""The operator's remedy for a version that a wrong clock put far ahead, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.responses import Response

from publisher.api.operation import Call, Operation, json_response
from publisher.messages import wire_seconds
from publisher.names import checked_key

__all__ = ["Reset", "operations"]

Reset = Callable[[str, str], Awaitable[int]]
"""Puts an environment's version back to now in the name of an actor, and returns the version."""


class ResetVersion(msgspec.Struct, frozen=True):
    """An environment whose version was put back, and the version that was announced then."""

    environment: str
    updated_at: float


def operations(reset: Reset) -> list[Operation]:
    """Return the operations."""

    async def put_back(call: Call) -> Response:
        key = checked_key(call.text("key"))
        version = await reset(key, call.actor)
        return json_response(ResetVersion(key, wire_seconds(version)))

    return [
        Operation(
            method="POST",
            path="/api/versions/{key}/reset",
            handler=put_back,
            summary="Put the version of an environment back to now",
            tag="versions",
            answers={200: ResetVersion},
            refusals=("invalid", "not-found", "broker-away"),
            notes="For a version that a wrong clock put far ahead: stream servers ignore one that is more than 300 s "
            "ahead, so its environment would get no updates until then. The key may be one of another management API.",
        ),
    ]
