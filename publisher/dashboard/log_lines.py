"""The change log in words: what a line says was done, and before → after of just what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from publisher.changes import Action, Change
from publisher.dashboard.rendering import shown

__all__ = ["DONE", "Difference", "Line", "line"]

DONE: Mapping[Action, str] = {
    "project.created": "created the project",
    "project.renamed": "renamed the project",
    "project.deleted": "deleted the project",
    "environment.created": "created the environment",
    "environment.renamed": "renamed the environment",
    "environment.deleted": "deleted the environment",
    "feature.created": "created the feature",
    "feature.renamed": "renamed the feature",
    "feature.described": "described the feature",
    "feature.deleted": "deleted the feature",
    "state.changed": "changed",
    "token.created": "created a token",
    "token.revoked": "revoked a token",
    "version.reset": "put back the version of",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs; None is nothing at all."""

    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """A change for people. `pushed_after` is in seconds, None while it waits or where nothing is pushed."""

    change: Change
    done: str
    subject: str
    differences: Sequence[Difference]
    pushed_after: float | None

    @property
    def waits(self) -> bool:
        """Tell whether the change is still on its way to the broker."""
        return self.change.updated_at is not None and self.change.pushed_at is None


def line(change: Change) -> Line:
    """Return `change` in words."""
    subject = change.feature or change.environment or change.project or change.environment_key
    token = (change.after or change.before or {}) if change.action.startswith("token.") else {}
    pushed = change.pushed_at
    return Line(
        change=change,
        done=DONE.get(cast("Action", change.action), change.action),
        subject=subject or str(token.get("name", "")),
        differences=_differences(change),
        # The moment of the change is taken before its transaction, so this includes the write.
        pushed_after=None if pushed is None else max(pushed - change.at, 0.0),
    )


def _differences(change: Change) -> Sequence[Difference]:
    before: Any = change.before if isinstance(change.before, dict) else {}
    after: Any = change.after if isinstance(change.after, dict) else {}
    if change.action.startswith("token."):
        return ()
    found = []
    for what in sorted(before.keys() | after.keys()):
        # As JSON, because in Python 1 == True.
        if what in before and what in after and json.dumps(before[what]) == json.dumps(after[what]):
            continue
        if change.action.endswith((".created", ".deleted")) and what == "name":
            continue  # the line says it already
        found.append(Difference(what, _text(what, before), _text(what, after)))
    return found


def _text(what: str, values: dict[str, Any]) -> str | None:
    if what not in values:
        return None
    match what, values[what]:
        case "enabled", bool(on):
            return "on" if on else "off"
        case "value", None:
            return "no value"
        case (("name" | "description"), str(text)):
            return text or "nothing"
    return shown(values[what])
