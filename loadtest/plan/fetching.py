"""What clients that go to the origin itself fetch there: flags at their openings, and after changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadtest.models import Fetching as When
from loadtest.models import Loading, Model
from loadtest.plan.demand import events_per_s, fetching_share
from loadtest.plan.settings import Plan

__all__ = ["Fetching"]

Floats = NDArray[np.float64]


class Fetching:
    """The fetches of some models, by number of the model."""

    def __init__(self, plan: Plan, models: Sequence[Model]) -> None:
        self._changes = events_per_s(plan)
        self._document = plan.costs.document_us * 1e-6
        self.told_per_s = self._changes * fetching_share(plan)
        """Fetches a second after changes, of each client that has a stream."""
        shares = np.zeros(len(models))
        wholes = np.zeros(len(models))
        for mix in plan.clients.mix:
            number = next(place for place, model in enumerate(models) if model.name == mix.model)
            wholes[number] += mix.share
            shares[number] += mix.share * mix.fetches * plan.changes.fetch
        fetches = shares / wholes
        self._newer = fetches * [model.fetching is When.NEWER for model in models]
        self._every = fetches * [model.fetching is When.EVERY for model in models]
        self._first = fetches * [model.loads is not Loading.NEVER for model in models]

    def after_opening(self, seen: NDArray[np.void], at: Floats) -> Floats:
        """Return the CPU seconds of each client's fetch that opens a stream at `at`; `seen` are their rows before."""
        model = seen["model"]
        away = np.maximum(at - seen["ends"], 0.0)  # infinite for those that begin
        begins = np.isinf(away)
        missed = -np.expm1(-self._changes * np.where(begins, 0.0, away))
        fetches = np.where(begins, self._first.take(model), self._every.take(model) + self._newer.take(model) * missed)
        seconds: Floats = fetches * self._document
        return seconds
