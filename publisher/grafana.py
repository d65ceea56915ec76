"""Changes as annotations for Grafana: lines on a graph that say what happened there."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import changes

__all__ = ["MOST", "Annotation", "listed"]

MOST = 1000
"""Annotations in one answer, the newest: more cannot be told apart on a graph."""


class Annotation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One annotation (Grafana manual, "Annotations"). Times are milliseconds; `timeEnd` is when it was pushed."""

    time: int
    title: str
    text: str
    tags: list[str]
    timeEnd: int | None = None  # noqa: N815 - Grafana's name


async def listed(session: AsyncSession, wanted: changes.Filter) -> list[Annotation]:
    """Return the newest changes that `wanted` allows, oldest first."""
    found = await changes.listed(session, wanted, limit=MOST)
    return [_annotation(change) for change in reversed(found)]


def _annotation(change: changes.Change) -> Annotation:
    place = [part for part in (change.project, change.environment, change.feature) if part]
    return Annotation(
        time=round(change.at * 1000),
        timeEnd=None if change.pushed_at is None else round(change.pushed_at * 1000),
        title=f"{change.action} {change.feature or change.environment or change.project or ''}".rstrip(),
        text=f"{' / '.join(place)}: {_short(change.before)} → {_short(change.after)}, by {change.actor}",
        tags=["flagstream", change.action, *place],
    )


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else f"{text[:199]}…"  # noqa: PLR2004 - what a tooltip holds
