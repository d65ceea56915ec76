"""Features of a project. A feature has a state in every environment of its project (`publisher.states`)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import environments, names, projects, values
from publisher.changes import Action
from publisher.errors import DuplicateError, Fault, InvalidError, NotFoundError
from publisher.expectation import ANY, Expectation
from publisher.messages import wire_seconds
from publisher.models import Environment as EnvironmentRow
from publisher.models import Feature as FeatureRow
from publisher.models import FeatureState
from publisher.store import Transaction, Where

__all__ = ["Feature", "create", "get", "listed", "remove", "update_one"]


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature; `initial_enabled` and `initial_value` are its state in environments made later."""

    id: int
    project: int
    name: str
    description: str
    initial_enabled: bool
    initial_value: Any
    version: int
    created_at: float


def _feature(row: FeatureRow) -> Feature:
    return Feature(
        id=row.id,
        project=row.project_id,
        name=row.name,
        description=row.description,
        initial_enabled=row.initial_enabled,
        initial_value=values.from_text(row.initial_value),
        version=row.revision,
        created_at=wire_seconds(row.created_at),
    )


async def listed(session: AsyncSession, project: int, *, after: int = 0, limit: int = 100) -> list[Feature]:
    """Return a project's features in the order they were made; raises `NotFoundError`."""
    await projects.get(session, project)
    query = select(FeatureRow).where(FeatureRow.project_id == project, FeatureRow.id > after)
    return [_feature(row) for row in (await session.execute(query.order_by(FeatureRow.id).limit(limit))).scalars()]


async def get(session: AsyncSession, project: int, name: str) -> Feature:
    """Return one feature by its name; raises `NotFoundError`."""
    await projects.get(session, project)
    return _feature(await _row(session, project, name))


async def _row(session: AsyncSession, project: int, name: str) -> FeatureRow:
    query = select(FeatureRow).where(FeatureRow.project_id == project, FeatureRow.name == name)
    row = (await session.execute(query)).scalar_one_or_none() if names.is_feature_name(name) else None
    if row is None:
        raise NotFoundError("feature", name)
    return row


async def create(
    change: Transaction,
    project: int,
    name: str,
    *,
    description: str = "",
    enabled: bool = False,
    value: Any = None,
) -> Feature:
    """Make a feature with this state in every environment of the project, and announce each of them."""
    names.checked(name, in_path=True)
    _check_description(description)
    text = values.to_text(value)
    session = change.session
    found = await projects.lock(session, project)
    in_environments = await environments.lock_all(session, project)
    if (await session.execute(_named(project, name))).first():
        raise _duplicate(name)
    try:
        created = await session.execute(
            insert(FeatureRow)
            .values(
                project_id=project,
                name=name,
                description=description,
                initial_enabled=enabled,
                initial_value=text,
                created_at=change.at,
                revision=1,
            )
            .returning(FeatureRow.id)
        )
    except IntegrityError:
        raise _duplicate(name) from None
    feature = created.scalar_one()
    after = {"enabled": enabled, "value": value}
    states = []
    for environment, version in await _announce_all(
        change, found.name, in_environments, "feature.created", name, after=after
    ):
        states.append(
            {
                "environment_id": environment.id,
                "feature_id": feature,
                "uuid": str(uuid4()),
                "enabled": enabled,
                "value": text,
                "updated_at": version,
                "revision": 1,
            }
        )
    if states:
        await session.execute(insert(FeatureState), states)
    return _feature(await _row(session, project, name))


async def update_one(
    change: Transaction,
    project: int,
    name: str,
    *,
    new_name: str | None = None,
    description: str | None = None,
    expected: Expectation = ANY,
) -> Feature:
    """Rename or describe a feature. A new name is announced in every environment, a description is not."""
    if new_name is not None:
        names.checked(new_name, in_path=True)
    if description is not None:
        _check_description(description)
    session = change.session
    found = await projects.lock(session, project)
    row = await _row(session, project, name)
    expected.check(row.revision)
    new_name = row.name if new_name is None else new_name
    description = row.description if description is None else description
    if (new_name, description) == (row.name, row.description):
        return _feature(row)
    renamed, described = new_name != name, description != row.description
    before = row.description
    if renamed and (await session.execute(_named(project, new_name))).first():
        raise _duplicate(new_name)
    in_environments = await environments.lock_all(session, project) if renamed else []
    try:
        await session.execute(
            update(FeatureRow)
            .where(FeatureRow.id == row.id)
            .values(name=new_name, description=description, revision=FeatureRow.revision + 1)
        )
    except IntegrityError:
        raise _duplicate(new_name) from None
    if renamed:
        await _announce_all(
            change,
            found.name,
            in_environments,
            "feature.renamed",
            new_name,
            before={"name": name},
            after={"name": new_name},
        )
    if described:
        where = Where(project=found.name, feature=new_name)
        await change.log("feature.described", where, before={"description": before}, after={"description": description})
    session.expire(row)
    await session.refresh(row)
    return _feature(row)


async def remove(change: Transaction, project: int, name: str, expected: Expectation = ANY) -> None:
    """Delete a feature with its states, and announce every environment of the project."""
    found = await projects.lock(change.session, project)
    row = await _row(change.session, project, name)
    expected.check(row.revision)
    in_environments = await environments.lock_all(change.session, project)
    await change.session.execute(delete(FeatureRow).where(FeatureRow.id == row.id))
    before = {"enabled": row.initial_enabled, "value": values.from_text(row.initial_value)}
    await _announce_all(change, found.name, in_environments, "feature.deleted", name, before=before)


async def _announce_all(
    change: Transaction,
    project: str,
    in_environments: list[EnvironmentRow],
    action: Action,
    feature: str,
    *,
    before: Any = None,
    after: Any = None,
) -> list[tuple[EnvironmentRow, int]]:
    """Announce environments and log a line for each; one line without, so that the change is not lost."""
    if not in_environments:
        await change.log(action, Where(project=project, feature=feature), before=before, after=after)
    announced = []
    for environment in in_environments:
        version = await change.announce(environment.key)
        where = Where(project=project, environment=environment.name, environment_key=environment.key, feature=feature)
        await change.log(action, where, before=before, after=after, version=version)
        announced.append((environment, version))
    return announced


def _named(project: int, name: str) -> Any:
    return select(FeatureRow.id).where(FeatureRow.project_id == project, FeatureRow.name == name)


def _duplicate(name: str) -> DuplicateError:
    return DuplicateError("name", f"this project has a feature {name!r} already; choose another name")


def _check_description(text: str) -> None:
    if fault := names.text_fault(text, longest=names.DESCRIPTION_LENGTH, lines=True):
        raise InvalidError(Fault("description", fault))
