"""The call with which Flagsmith's management API tells of a change; its published code works unmodified."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from publisher import messages, tokens
from publisher.api import bodies
from publisher.api.operation import Call, Operation, bearer, json_response
from publisher.api.problems import UnauthorizedError
from publisher.errors import Fault, InvalidError
from publisher.queue_change import ForeignChanges

__all__ = ["Accepted", "operations"]


class Accepted(msgspec.Struct, frozen=True):
    """What came of it. `advanced` is false when this or a newer time was known."""

    environment: str
    updated_at: float
    advanced: bool


def operations(changes: ForeignChanges, sse_token: str) -> list[Operation]:
    """Return the operation, which takes `sse_token` and no other; an empty one opens nothing."""

    async def take(call: Call) -> Response:
        if not tokens.matches(bearer(call.request.headers.get("authorization", "")), sse_token):
            raise UnauthorizedError("send Authorization: Token SSE_TOKEN, with the publisher's sse_token")
        key = call.text("key")
        try:
            messages.check_key(key)
        except messages.InvalidKeyError as error:
            raise InvalidError(Fault("key", str(error))) from None
        version = _version(bodies.parse(await call.raw(any_type=True)))
        advanced = await changes.submit(key, version)
        return json_response(Accepted(key, messages.wire_seconds(version), advanced), status=202 if advanced else 200)

    return [
        Operation(
            method="POST",
            path="/sse/environments/{key}/queue-change",
            handler=take,
            summary="Announce a change that another management API made",
            tag="queue-change",
            answers={202: Accepted, 200: Accepted},
            any_body=True,
            access="sse",
            details=True,
            notes=(
                '`{"updated_at": "2026-11-21T00:35:06.250875+00:00"}`: ISO 8601 (UTC without a zone) or Unix seconds. '
                "Stored before it is answered: 202 when it is newer than all before, else 200. Other fields are "
                "ignored."
            ),
        )
    ]


def _version(content: Any) -> int:
    if not isinstance(content, dict) or "updated_at" not in content:
        raise InvalidError(Fault("updated_at", 'must be given, as in {"updated_at": "2026-11-21T00:35:06.250875Z"}'))
    given = content["updated_at"]
    try:
        version = messages.parse_version(given)
    except (messages.InvalidVersionError, OverflowError) as error:
        raise InvalidError(Fault("updated_at", str(error))) from None
    if messages.is_too_far_ahead(version):
        # A thousand times too much lies in the past or near present when it is read in the right unit.
        for unit, size in (("milliseconds", 1_000), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000)):
            read = version // size
            if not isinstance(given, str) and read > 1_000_000_000 * 1_000_000 and not messages.is_too_far_ahead(read):
                raise InvalidError(Fault("updated_at", f"looks like {unit}; send Unix seconds or an ISO 8601 time"))
        ahead = messages.MAX_AHEAD // 1_000_000
        raise InvalidError(Fault("updated_at", f"is more than {ahead} s ahead of the clock here"))
    return version
