"""How often apps evaluated features, as their SDKs report it: counts a day (UTC)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import environments
from publisher.batches import Batches
from publisher.models import Environment, Evaluation, Feature
from publisher.store import Store

__all__ = ["LARGEST_COUNT", "Evaluations", "Usage", "listed"]

LARGEST_COUNT = 2**31 - 1
"""What one report may say of one feature; the client key is public, so anybody may report anything."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Evaluations of one feature on one day, ``2026-11-21``."""

    day: str
    feature: str
    count: int


async def listed(session: AsyncSession, key: str, *, days: int) -> list[Usage]:
    """Return the counts of the last `days` days, newest day first; raises `NotFoundError`."""
    environment = await environments.get(session, key)
    first = (datetime.now(UTC) - timedelta(days=days - 1)).date().isoformat()
    query = (
        select(Evaluation.day, Evaluation.feature, Evaluation.count)
        .where(Evaluation.environment_id == environment.id, Evaluation.day >= first)
        .order_by(Evaluation.day.desc(), Evaluation.feature)
    )
    return [Usage(day=day, feature=feature, count=count) for day, feature, count in await session.execute(query)]


class Evaluations:
    """Adds up reports and writes those that wait together."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batches: Batches[tuple[int, Mapping[str, int]], None] = Batches(self._write)

    async def add(self, environment: int, counts: Mapping[str, int]) -> None:
        """Store one report; features that the environment does not have are left out."""
        await self._batches.submit((environment, counts))

    async def run(self) -> None:
        """Write what is reported, for ever."""
        await self._batches.run()

    async def _write(self, reports: Sequence[tuple[int, Mapping[str, int]]]) -> list[None]:
        day = datetime.now(UTC).date().isoformat()
        totals: Counter[tuple[int, str]] = Counter()
        for environment, counts in reports:
            for feature, count in counts.items():
                totals[environment, feature] += count
        database = self._store.database
        async with database.write() as session:
            known = await _known(session, {environment for environment, _ in totals})
            rows = [
                {"environment_id": environment, "feature": feature, "day": day, "count": count}
                for (environment, feature), count in sorted(totals.items())
                if (environment, feature) in known
            ]
            if rows:
                insert = (sqlite if database.is_sqlite else postgresql).insert(Evaluation)
                added = Evaluation.count + insert.excluded.count
                index = [Evaluation.environment_id, Evaluation.feature, Evaluation.day]
                await session.execute(insert.on_conflict_do_update(index_elements=index, set_={"count": added}), rows)
        return [None] * len(reports)


async def _known(session: AsyncSession, of: set[int]) -> set[tuple[int, str]]:
    query = (
        select(Environment.id, Feature.name)
        .join(Feature, Feature.project_id == Environment.project_id)
        .where(Environment.id.in_(of))
    )
    return {(environment, name) for environment, name in await session.execute(query)}
