"""Environments: where apps run, each with a client key (public) and a server key (secret)."""

from __future__ import annotations

import secrets
import string
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import ColumnElement, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import names, projects
from publisher.errors import DuplicateError, NotFoundError
from publisher.expectation import ANY, Expectation
from publisher.messages import is_key, wire_seconds
from publisher.models import Announcement, Feature, FeatureState
from publisher.models import Environment as EnvironmentRow
from publisher.store import Transaction, Where

__all__ = ["Environment", "create", "get", "listed", "lock", "lock_all", "remove", "rename"]

_ALPHABET = string.ascii_letters + string.digits
_GENERATED = 22
"""Characters of a generated key: 62^22 is just above 2^128."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment. `updated_at` is its newest version as apps hear it, `pushed` whether the broker has it."""

    id: int
    project: int
    name: str
    key: str
    server_key: str
    version: int
    created_at: float
    updated_at: float | None
    pushed: bool


def _select(*where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return (
        select(EnvironmentRow, Announcement.version, Announcement.announced)
        .outerjoin(Announcement, Announcement.key == EnvironmentRow.key)
        .where(*where)
        .order_by(EnvironmentRow.id)
    )


def _environment(row: Any) -> Environment:
    found, version, announced = row
    return Environment(
        id=found.id,
        project=found.project_id,
        name=found.name,
        key=found.key,
        server_key=found.server_key,
        version=found.revision,
        created_at=wire_seconds(found.created_at),
        updated_at=None if version is None else wire_seconds(version),
        pushed=version is not None and announced >= version,
    )


async def listed(session: AsyncSession, project: int, *, after: int = 0, limit: int = 100) -> list[Environment]:
    """Return a project's environments in the order they were made; raises `NotFoundError`."""
    await projects.get(session, project)
    query = _select(EnvironmentRow.project_id == project, EnvironmentRow.id > after).limit(limit)
    return [_environment(row) for row in await session.execute(query)]


async def get(session: AsyncSession, key: str) -> Environment:
    """Return one environment by its client key; raises `NotFoundError`."""
    row = (await session.execute(_select(EnvironmentRow.key == key))).one_or_none() if is_key(key) else None
    if row is None:
        raise NotFoundError("environment", key)
    return _environment(row)


async def lock(session: AsyncSession, key: str) -> EnvironmentRow:
    """Return an environment's row, which no other writer changes until the transaction ends."""
    query = select(EnvironmentRow).where(EnvironmentRow.key == key).with_for_update(key_share=True)
    row = (await session.execute(query)).scalar_one_or_none() if is_key(key) else None
    if row is None:
        raise NotFoundError("environment", key)
    return row


async def lock_all(session: AsyncSession, project: int) -> list[EnvironmentRow]:
    """Return every environment of a project that is locked already; sorted by key, the order of announcements."""
    query = select(EnvironmentRow).where(EnvironmentRow.project_id == project).order_by(EnvironmentRow.id)
    rows = (await session.execute(query.with_for_update(key_share=True))).scalars()
    return sorted(rows, key=lambda row: row.key)


async def _lock_with_project(session: AsyncSession, key: str) -> tuple[projects.Project, EnvironmentRow]:
    """Lock in the one order, project first."""
    query = select(EnvironmentRow.project_id).where(EnvironmentRow.key == key)
    project = (await session.execute(query)).scalar_one_or_none() if is_key(key) else None
    if project is None:
        raise NotFoundError("environment", key)
    return await projects.lock(session, project), await lock(session, key)


async def create(change: Transaction, project: int, name: str, key: str | None = None) -> Environment:
    """Make an environment with a state of every feature, and announce it.

    `key` is made up when it is not given. Raises `InvalidError`, `NotFoundError` and `DuplicateError`.
    """
    names.checked(name)
    key = _generated() if key is None else names.checked_key(key)
    session = change.session
    found = await projects.lock(session, project)
    await _refuse_duplicate_name(session, project, name)
    if (await session.execute(select(EnvironmentRow.id).where(EnvironmentRow.key == key))).first():
        raise _duplicate_key(key)
    try:
        created = await session.execute(
            insert(EnvironmentRow)
            .values(
                project_id=project,
                name=name,
                key=key,
                server_key=f"ser.{_generated()}",
                created_at=change.at,
                revision=1,
            )
            .returning(EnvironmentRow.id)
        )
    except IntegrityError:  # keys are unique over all projects, which are not locked together
        raise _duplicate_key(key) from None
    version = await change.announce(key)
    await _add_states(session, project, created.scalar_one(), version)
    where = Where(project=found.name, environment=name, environment_key=key)
    await change.log("environment.created", where, after={"name": name}, version=version)
    return await get(session, key)


async def _add_states(session: AsyncSession, project: int, environment: int, version: int) -> None:
    features = (await session.execute(select(Feature).where(Feature.project_id == project))).scalars().all()
    if features:
        await session.execute(
            insert(FeatureState),
            [
                {
                    "environment_id": environment,
                    "feature_id": feature.id,
                    "uuid": str(uuid4()),
                    "enabled": feature.initial_enabled,
                    "value": feature.initial_value,
                    "updated_at": version,
                    "revision": 1,
                }
                for feature in features
            ],
        )


async def rename(change: Transaction, key: str, name: str, expected: Expectation = ANY) -> Environment:
    """Give an environment another name. Its key stays; apps do not see names, so nothing is announced."""
    names.checked(name)
    project, row = await _lock_with_project(change.session, key)
    expected.check(row.revision)
    if row.name != name:
        before = row.name
        await _refuse_duplicate_name(change.session, row.project_id, name)
        await change.session.execute(
            update(EnvironmentRow)
            .where(EnvironmentRow.id == row.id)
            .values(name=name, revision=EnvironmentRow.revision + 1)
        )
        where = Where(project=project.name, environment=name, environment_key=key)
        await change.log("environment.renamed", where, before={"name": before}, after={"name": name})
    return await get(change.session, key)


async def remove(change: Transaction, key: str, expected: Expectation = ANY) -> None:
    """Delete an environment: its documents answer 401 from now on.

    Its announcement stays and moves on: caches learn that the documents are gone, and versions do not go back
    should the key be used again.
    """
    project, row = await _lock_with_project(change.session, key)
    expected.check(row.revision)
    await change.session.execute(delete(EnvironmentRow).where(EnvironmentRow.id == row.id))
    version = await change.announce(key)
    where = Where(project=project.name, environment=row.name, environment_key=key)
    await change.log("environment.deleted", where, before={"name": row.name}, version=version)


async def _refuse_duplicate_name(session: AsyncSession, project: int, name: str) -> None:
    query = select(EnvironmentRow.id).where(EnvironmentRow.project_id == project, EnvironmentRow.name == name)
    if (await session.execute(query)).first():
        raise DuplicateError("name", f"this project has an environment {name!r} already; choose another name")


def _duplicate_key(key: str) -> DuplicateError:
    return DuplicateError("key", f"there is an environment with the key {key!r} already; choose another key")


def _generated() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_GENERATED))
