"""The state of a feature in one environment: on or off, and a value. The change everything else exists for."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from sqlalchemy import Select, Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import environments, names, values
from publisher.errors import Fault, InvalidError, NotFoundError
from publisher.expectation import ANY, Expectation
from publisher.messages import is_key, wire_seconds
from publisher.models import Environment as EnvironmentRow
from publisher.models import Feature as FeatureRow
from publisher.models import FeatureState
from publisher.models import Project as ProjectRow
from publisher.store import Transaction, Where

__all__ = ["State", "get", "listed", "set_state"]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A feature's state. `updated_at` is the very number of the event that announced it; `version` counts changes."""

    environment: str
    feature: str
    enabled: bool
    value: Any
    version: int
    updated_at: float


# Made once, and run on the bare connection: building a statement takes longer than SQLite needs to run it.
_STATES, _FEATURES, _ENVIRONMENTS, _PROJECTS = (
    cast("Table", of.__table__) for of in (FeatureState, FeatureRow, EnvironmentRow, ProjectRow)
)
_FIND = (
    select(
        _STATES.c.id,
        _ENVIRONMENTS.c.name,
        _PROJECTS.c.name,
        _STATES.c.enabled,
        _STATES.c.value,
        _STATES.c.revision,
        _STATES.c.updated_at,
    )
    .join(_ENVIRONMENTS, _ENVIRONMENTS.c.id == _STATES.c.environment_id)
    .join(_FEATURES, _FEATURES.c.id == _STATES.c.feature_id)
    .join(_PROJECTS, _PROJECTS.c.id == _FEATURES.c.project_id)
    .where(_ENVIRONMENTS.c.key == bindparam("key"), _FEATURES.c.name == bindparam("feature"))
)
_SET = (
    update(_STATES)
    .where(_STATES.c.id == bindparam("state"))
    .values({name: bindparam(name) for name in ("enabled", "value", "updated_at", "revision")})
)


def _select(key: str) -> Select[*tuple[Any, ...]]:
    return (
        select(
            FeatureRow.name, FeatureState.enabled, FeatureState.value, FeatureState.revision, FeatureState.updated_at
        )
        .join(FeatureRow, FeatureRow.id == FeatureState.feature_id)
        .join(EnvironmentRow, EnvironmentRow.id == FeatureState.environment_id)
        .where(EnvironmentRow.key == key)
    )


def _state(key: str, row: Any) -> State:
    name, enabled, value, revision, updated_at = row
    return State(
        environment=key,
        feature=name,
        enabled=enabled,
        value=values.from_text(value),
        version=revision,
        updated_at=wire_seconds(updated_at),
    )


async def listed(session: AsyncSession, key: str, *, after: int = 0, limit: int = 100) -> list[tuple[int, State]]:
    """Return an environment's states with the ids of their features, in the order the features were made."""
    await environments.get(session, key)
    query = _select(key).add_columns(FeatureRow.id).where(FeatureRow.id > after).order_by(FeatureRow.id).limit(limit)
    return [(row[-1], _state(key, row[:-1])) for row in await session.execute(query)]


async def get(session: AsyncSession, key: str, feature: str) -> State:
    """Return one state; raises `NotFoundError` naming the environment or the feature."""
    found = is_key(key) and names.is_feature_name(feature)
    row = (await session.execute(_select(key).where(FeatureRow.name == feature))).one_or_none() if found else None
    if row is None:
        await environments.get(session, key)
        raise NotFoundError("feature", feature)
    return _state(key, row)


async def set_state(
    change: Transaction,
    key: str,
    feature: str,
    *,
    enabled: bool | None = None,
    value: Any = msgspec.UNSET,
    expected: Expectation = ANY,
) -> State:
    """Change a state and announce its environment; what is not given stays.

    A change that changes nothing answers with the state as it is, writes nothing and announces nothing. Raises
    `InvalidError`, `NotFoundError` and `StaleError`.
    """
    if enabled is None and value is msgspec.UNSET:
        raise InvalidError(Fault("enabled", "give enabled or value, or both"))
    text = None if value is msgspec.UNSET else values.to_text(value)
    if not names.is_feature_name(feature):
        raise NotFoundError("feature", feature)
    if change.runs_beside_others:
        await environments.lock(change.session, key)
    row = (await change.connection.execute(_FIND, {"key": key, "feature": feature})).one_or_none()
    if row is None:
        await environments.get(change.session, key)
        raise NotFoundError("feature", feature)
    state, environment, project, was_enabled, was_text, revision, updated_at = row
    expected.check(revision)
    new = (was_enabled if enabled is None else enabled, was_text if text is None else text)
    if new == (was_enabled, was_text):
        return _state(key, (feature, *new, revision, updated_at))

    version = await change.announce(key)
    await change.connection.execute(
        _SET, {"state": state, "enabled": new[0], "value": new[1], "updated_at": version, "revision": revision + 1}
    )
    await change.log(
        "state.changed",
        Where(project=project, environment=environment, environment_key=key, feature=feature),
        before={"enabled": was_enabled, "value": values.from_text(was_text)},
        after={"enabled": new[0], "value": values.from_text(new[1])},
        version=version,
    )
    return _state(key, (feature, *new, revision + 1, version))
