"""Feature states over HTTP: the toggle."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import model_validator
from starlette.responses import Response

from publisher import states
from publisher.api.bodies import Body
from publisher.api.features import Value
from publisher.api.operation import Call, Operation
from publisher.api.paging import Page
from publisher.api.projects import Version
from publisher.states import State

__all__ = ["OPERATIONS"]


class StatePatch(Body):
    """What is to change of a state: `enabled`, `value` or both. What is not given stays."""

    enabled: bool = False
    value: Value = None
    version: Version = None

    @model_validator(mode="before")
    @classmethod
    def _something(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.keys() <= {"version"}:
            raise ValueError("give enabled or value, or both")
        return content


async def listed(call: Call) -> Response:
    page = call.query(Page)
    async with call.store.read() as session:
        found = await states.listed(session, call.text("key"), after=page.after, limit=page.limit + 1)
    items = found[: page.limit]
    return call.page([state for _, state in items], items[-1][0] if len(found) > page.limit else None)


async def get(call: Call) -> Response:
    async with call.store.read() as session:
        return call.one(await states.get(session, call.text("key"), call.text("name")))


async def update(call: Call) -> Response:
    body = await call.body(StatePatch)
    given = body.model_fields_set
    async with call.store.change(call.actor) as change:
        state = await states.set_state(
            change,
            call.text("key"),
            call.text("name"),
            enabled=body.enabled if "enabled" in given else None,
            value=body.value if "value" in given else msgspec.UNSET,
            expected=call.expected(body.version),
        )
    return call.one(state)


_ALL = "/api/environments/{key}/features"
_ONE = "/api/environments/{key}/features/{name}"
OPERATIONS = [
    Operation(
        method="GET",
        path=_ALL,
        handler=listed,
        summary="List the states of all features in an environment",
        tag="states",
        answers={200: list[State]},
        refusals=("not-found",),
        query=Page,
    ),
    Operation(
        method="GET",
        path=_ONE,
        handler=get,
        summary="Read the state of a feature in an environment",
        tag="states",
        answers={200: State},
        refusals=("not-found",),
        conditional=True,
    ),
    Operation(
        method="PATCH",
        path=_ONE,
        handler=update,
        summary="Change a feature in an environment, and announce it",
        tag="states",
        answers={200: State},
        refusals=("not-found", "stale-version", "stale"),
        body=StatePatch,
        conditional=True,
        notes=(
            "`updated_at` is the very number of the event that apps will see. A change that changes nothing answers "
            "200 with the state as it is and announces nothing. Without If-Match and version the last write wins."
        ),
    ),
]
