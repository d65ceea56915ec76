"""Features by environments: what the page of a project shows, in two queries however many environments there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import values
from publisher.environments import Environment
from publisher.messages import wire_seconds
from publisher.models import Feature, FeatureState

__all__ = ["PAGE", "Cell", "Matrix", "Row", "read"]

PAGE = 200
"""Features on one page."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A feature's state in one environment."""

    environment: Environment
    enabled: bool
    value: Any
    version: int
    updated_at: float

    @property
    def state(self) -> dict[str, Any]:
        """Return what the script on the page starts from."""
        return {
            "enabled": self.enabled,
            "value": self.value,
            "version": self.version,
            "updated_at": self.updated_at,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A feature with its cells, one an environment; None where it was made a moment ago."""

    name: str
    description: str
    version: int
    cells: Sequence[Cell | None]


@dataclass(frozen=True, slots=True)
class Matrix:
    """One page of a project's features; `total` counts those that match, `pages` the pages they take."""

    rows: Sequence[Row]
    total: int
    page: int

    @property
    def pages(self) -> int:
        """Return how many pages there are, at least one."""
        return max(1, -(-self.total // PAGE))


async def read(
    session: AsyncSession, project: int, environments: Sequence[Environment], *, containing: str = "", page: int = 1
) -> Matrix:
    """Return features by name, those whose name or description contains a text."""
    wanted = [Feature.project_id == project]
    if containing:
        wanted.append(
            Feature.name.icontains(containing, autoescape=True)
            | Feature.description.icontains(containing, autoescape=True)
        )
    total = (await session.execute(select(func.count()).select_from(Feature).where(*wanted))).scalar_one()
    query = select(Feature).where(*wanted).order_by(func.lower(Feature.name), Feature.id)
    features = (await session.execute(query.limit(PAGE).offset((page - 1) * PAGE))).scalars().all()
    states = {
        (row.feature_id, row.environment_id): row
        for row in (
            await session.execute(
                select(FeatureState).where(FeatureState.feature_id.in_([feature.id for feature in features]))
            )
        ).scalars()
    }
    rows = [
        Row(
            feature.name,
            feature.description,
            feature.revision,
            [_cell(environment, states.get((feature.id, environment.id))) for environment in environments],
        )
        for feature in features
    ]
    return Matrix(rows, total, page)


def _cell(environment: Environment, state: FeatureState | None) -> Cell | None:
    if state is None:
        return None
    return Cell(
        environment, state.enabled, values.from_text(state.value), state.revision, wire_seconds(state.updated_at)
    )
