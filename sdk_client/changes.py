"""Changes of flags: what one is, and how two documents differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdk_client.flags import Flag

__all__ = ["Change", "difference"]


@dataclass(frozen=True, slots=True)
class Change:
    """One feature went from `old` to `new` at `version`; None stands for a feature that is not there."""

    feature: str
    old: Flag | None
    new: Flag | None
    version: int

    @property
    def enabled(self) -> bool:
        """On or off now; off where the feature is gone."""
        return self.new is not None and self.new.enabled

    @property
    def old_enabled(self) -> bool:
        """On or off before; off where the feature was not there."""
        return self.old is not None and self.old.enabled

    @property
    def value(self) -> Any:
        """The value now; None where the feature is gone."""
        return None if self.new is None else self.new.value

    @property
    def old_value(self) -> Any:
        """The value before; None where the feature was not there."""
        return None if self.old is None else self.old.value


def difference(old: Mapping[str, Flag], new: Mapping[str, Flag], version: int) -> list[Change]:
    """Return what changed, by the order of the new document and then of the features that are gone."""
    changes = [
        Change(name, old.get(name), flag, version) for name, flag in new.items() if not _same(old.get(name), flag)
    ]
    return changes + [Change(name, flag, None, version) for name, flag in old.items() if name not in new]


def _same(old: Flag | None, new: Flag) -> bool:
    # repr, for in Python 1, 1.0 and True are equal, and a value that became another type has changed.
    return old is not None and old.enabled == new.enabled and repr(old.value) == repr(new.value)
