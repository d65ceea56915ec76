"""Projects: read and changed. Every function raises the errors of `publisher.errors`."""

from __future__ import annotations

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import names
from publisher.errors import DuplicateError, NotFoundError
from publisher.expectation import ANY, Expectation
from publisher.messages import wire_seconds
from publisher.models import Environment as EnvironmentRow
from publisher.models import Project as ProjectRow
from publisher.store import Transaction, Where

__all__ = ["LARGEST_ID", "Project", "create", "get", "listed", "lock", "remove", "rename"]

LARGEST_ID = 2**31 - 1
"""Ids are 32-bit in PostgreSQL; nothing beyond exists."""


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A set of features and environments. `created_at` is Unix seconds, `version` counts its own changes."""

    id: int
    name: str
    version: int
    created_at: float


_COLUMNS = (ProjectRow.id, ProjectRow.name, ProjectRow.revision, ProjectRow.created_at)


def _project(row: Row[int, str, int, int]) -> Project:
    return Project(id=row[0], name=row[1], version=row[2], created_at=wire_seconds(row[3]))


async def listed(session: AsyncSession, *, after: int = 0, limit: int = 100) -> list[Project]:
    """Return projects in the order they were made, from the first with an id above `after`."""
    rows = await session.execute(select(*_COLUMNS).where(ProjectRow.id > after).order_by(ProjectRow.id).limit(limit))
    return [_project(row) for row in rows]


async def get(session: AsyncSession, project: int) -> Project:
    """Return one project; raises `NotFoundError`."""
    return await _get(session, project, lock=False)


async def lock(session: AsyncSession, project: int) -> Project:
    """Return one project that stays as it is until the transaction ends; raises `NotFoundError`."""
    return await _get(session, project, lock=True)


async def _get(session: AsyncSession, project: int, *, lock: bool) -> Project:
    if not 0 < project <= LARGEST_ID:
        raise NotFoundError("project", str(project))
    query = select(*_COLUMNS).where(ProjectRow.id == project)
    row = (await session.execute(query.with_for_update(key_share=True) if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError("project", str(project))
    return _project(row)


async def create(change: Transaction, name: str) -> Project:
    """Make a project; raises `InvalidError` and `DuplicateError`."""
    names.checked(name)
    await _refuse_duplicate(change.session, name)
    try:
        row = await change.session.execute(
            insert(ProjectRow).values(name=name, created_at=change.at, revision=1).returning(*_COLUMNS)
        )
    except IntegrityError:  # somebody else was quicker
        raise _duplicate(name) from None
    project = _project(row.one())
    await change.log("project.created", Where(project=name), after={"name": name})
    return project


async def rename(change: Transaction, project: int, name: str, expected: Expectation = ANY) -> Project:
    """Give a project another name; an unchanged name writes nothing."""
    names.checked(name)
    found = await lock(change.session, project)
    expected.check(found.version)
    if found.name == name:
        return found
    await _refuse_duplicate(change.session, name)
    try:
        row = await change.session.execute(
            update(ProjectRow)
            .where(ProjectRow.id == project)
            .values(name=name, revision=ProjectRow.revision + 1)
            .returning(*_COLUMNS)
        )
    except IntegrityError:
        raise _duplicate(name) from None
    renamed = _project(row.one())
    await change.log("project.renamed", Where(project=name), before={"name": found.name}, after={"name": name})
    return renamed


async def remove(change: Transaction, project: int, expected: Expectation = ANY) -> None:
    """Delete a project with its environments and features.

    The announcement of each environment stays and moves on: caches learn that the documents are gone, and versions
    do not go back should a key be used again.
    """
    found = await lock(change.session, project)
    expected.check(found.version)
    rows = await change.session.execute(
        select(EnvironmentRow.name, EnvironmentRow.key)
        .where(EnvironmentRow.project_id == project)
        .order_by(EnvironmentRow.id)
        .with_for_update(key_share=True)
    )
    environments = sorted(rows, key=lambda row: row.key)
    await change.session.execute(delete(ProjectRow).where(ProjectRow.id == project))
    for row in environments:
        version = await change.announce(row.key)
        where = Where(project=found.name, environment=row.name, environment_key=row.key)
        await change.log("environment.deleted", where, before={"name": row.name}, version=version)
    await change.log("project.deleted", Where(project=found.name), before={"name": found.name})


async def _refuse_duplicate(session: AsyncSession, name: str) -> None:
    if (await session.execute(select(ProjectRow.id).where(ProjectRow.name == name))).first():
        raise _duplicate(name)


def _duplicate(name: str) -> DuplicateError:
    return DuplicateError("name", f"there is a project {name!r} already; choose another name")
