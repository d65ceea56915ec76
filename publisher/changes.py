"""The change log, read: who changed what, when, and when it was pushed. Lines are written by `publisher.store`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from publisher.messages import wire_seconds
from publisher.models import Change as ChangeRow

__all__ = ["ACTIONS", "Action", "Change", "Filter", "listed"]

Action = Literal[
    "project.created",
    "project.renamed",
    "project.deleted",
    "environment.created",
    "environment.renamed",
    "environment.deleted",
    "feature.created",
    "feature.renamed",
    "feature.described",
    "feature.deleted",
    "state.changed",
    "token.created",
    "token.revoked",
    "version.reset",
]
"""What a line may say was done."""

ACTIONS: tuple[Action, ...] = get_args(Action)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the change log. Times are Unix seconds.

    `updated_at` is the number of the event that announced it, None where nothing is announced; `pushed_at` is when
    the broker had acknowledged that event.
    """

    id: int
    at: float
    actor: str
    action: str
    project: str | None
    environment: str | None
    environment_key: str | None
    feature: str | None
    before: Any
    after: Any
    updated_at: float | None
    pushed_at: float | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines; None means all. `since` and `until` are microseconds, the second one exclusive."""

    project: str | None = None
    environment: str | None = None
    feature: str | None = None
    actor: str | None = None
    action: str | None = None
    since: int | None = None
    until: int | None = None
    pushed: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the SQL of this filter."""
        equal = {
            ChangeRow.project: self.project,
            ChangeRow.environment_key: self.environment,
            ChangeRow.feature: self.feature,
            ChangeRow.actor: self.actor,
            ChangeRow.action: self.action,
        }
        found: list[ColumnElement[bool]] = [column == wish for column, wish in equal.items() if wish is not None]
        if self.since is not None:
            found.append(ChangeRow.at >= self.since)
        if self.until is not None:
            found.append(ChangeRow.at < self.until)
        if self.pushed is not None:
            # A line without a version has nothing to push: it is neither.
            found.append(ChangeRow.version.is_not(None))
            found.append(ChangeRow.pushed_at.is_not(None) if self.pushed else ChangeRow.pushed_at.is_(None))
        return found


async def listed(
    session: AsyncSession, wanted: Filter | None = None, *, before: int | None = None, limit: int = 100
) -> list[Change]:
    """Return lines, newest first, from the first with an id below `before`."""
    query = select(ChangeRow).where(*(wanted or Filter()).conditions()).order_by(ChangeRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ChangeRow.id < before)
    return [_change(row) for row in (await session.execute(query)).scalars()]


def _change(row: ChangeRow) -> Change:
    return Change(
        id=row.id,
        at=wire_seconds(row.at),
        actor=row.actor,
        action=row.action,
        project=row.project,
        environment=row.environment,
        environment_key=row.environment_key,
        feature=row.feature,
        before=row.before,
        after=row.after,
        updated_at=None if row.version is None else wire_seconds(row.version),
        pushed_at=None if row.pushed_at is None else wire_seconds(row.pushed_at),
    )
