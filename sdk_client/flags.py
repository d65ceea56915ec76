"""Flags at one moment, and reading them: typed, with defaults, from memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, Final, TypeVar

from sdk_client.errors import ValueTypeError, shown
from sdk_client.values import as_boolean, as_integer, as_json, as_number, as_string

__all__ = ["Flag", "Flags", "Getters", "Source"]

_log = logging.getLogger("sdk_client")

T = TypeVar("T")

SHOWN: Final = 5
"""Flags that a repr shows; an environment may have thousands."""

MAX_TOLD: Final = 1000
"""Wrong types that are logged in the life of a process, each feature and type once."""

_told: set[tuple[str, str]] = set()


@dataclass(frozen=True, slots=True)
class Flag:
    """One feature's state: on or off, and a value that is a string, number, boolean, JSON or None."""

    name: str
    enabled: bool
    value: Any

    def __str__(self) -> str:
        state = "on" if self.enabled else "off"
        return f"{self.name} {state}" if self.value is None else f"{self.name} {state} {shown(self.value)}"


class Source(Enum):
    """Where flags came from."""

    NONE = "none"
    """There are none yet."""
    BOOTSTRAP = "bootstrap"
    """The file or dict that the program brought along."""
    CACHE = "cache"
    """Kept from an earlier answer: the copy on disk, or an identity's flags from before the newest change."""
    SERVER = "server"
    """The server's newest answer."""
    ENVIRONMENT = "environment"
    """Asked for an identity, and given the environment's flags, for the identity's own could not be had."""


class Getters:
    """Reads features of whatever knows its flags by name.

    Nothing here raises or waits. Defaults are answered where there is no such feature, where no flags are there yet,
    where a feature has no value, and where its value is of another type, which is logged once. Values are read
    whether the feature is on or off. `sdk_client.values` says what counts as which type.
    """

    __slots__ = ()

    def _flag(self, name: str) -> Flag | None:
        raise NotImplementedError

    def is_enabled(self, name: str, default: bool = False) -> bool:  # noqa: FBT001, FBT002 - reads as a sentence
        """Tell whether the feature is on; `default` where there is no such feature, or no flags yet."""
        flag = self._flag(name)
        return default if flag is None else flag.enabled

    def value(self, name: str, default: Any = None) -> Any:
        """Return the feature's value of any type; `default` only where there is no such feature, or no flags yet."""
        flag = self._flag(name)
        return default if flag is None else flag.value

    def boolean(self, name: str, default: bool) -> bool:  # noqa: FBT001 - reads as a sentence
        """Return the value (not the state) as a boolean: true, false, or the text "true" or "false"."""
        return self._read(name, default, as_boolean)

    def string(self, name: str, default: str) -> str:
        """Return the value if it is text."""
        return self._read(name, default, as_string)

    def integer(self, name: str, default: int) -> int:
        """Return the value as an integer: 3, 3.0, or the text "3"; true is none."""
        return self._read(name, default, as_integer)

    def number(self, name: str, default: float) -> float:
        """Return the value as a finite float: 2.5, 3, or the text "2.5"; true is none."""
        return self._read(name, default, as_number)

    def json(self, name: str, default: Any = None) -> Any:
        """Return what the value's text says as JSON; a value that is no text is returned as it is, not copied."""
        return self._read(name, default, as_json)

    def variant(self, name: str, choices: Iterable[T], default: T) -> T:
        """Return the one of `choices` that equals the value, so only what the code knows; an Enum counts by value."""
        flag = self._flag(name)
        if flag is None or flag.value is None:
            return default
        for choice in choices:
            known = choice.value if isinstance(choice, Enum) else choice
            # In Python True equals 1.
            if known == flag.value and isinstance(known, bool) == isinstance(flag.value, bool):
                return choice
        _tell(name, "variant", f"{shown(flag.value)} is none of the choices")
        return default

    def _read(self, name: str, default: T, read: Callable[[Any], T]) -> T:
        flag = self._flag(name)
        if flag is None or flag.value is None:
            return default
        try:
            return read(flag.value)
        except ValueTypeError as error:
            _tell(name, error.wanted, str(error))
            return default


class Flags(Getters, Mapping[str, Flag]):
    """All flags of an environment, or of an identity, by name in the order of the document; never changes.

    `version` is in microseconds since the epoch, 0 where it is not known.
    """

    __slots__ = ("_flags", "_source", "_version")

    def __init__(
        self, flags: Mapping[str, Flag] | Iterable[Flag] = (), version: int = 0, source: Source = Source.NONE
    ) -> None:
        self._flags: dict[str, Flag]
        if isinstance(flags, Flags):
            self._flags = flags._flags  # noqa: SLF001 - it never changes, so both may have it
        else:
            self._flags = dict(flags) if isinstance(flags, Mapping) else {flag.name: flag for flag in flags}
        self._version = version
        self._source = source

    @property
    def version(self) -> int:
        """Version of these flags in microseconds since the epoch; 0 where it is not known."""
        return self._version

    @property
    def source(self) -> Source:
        """Where these flags came from."""
        return self._source

    def __getitem__(self, name: str) -> Flag:
        return self._flags[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._flags)

    def __len__(self) -> int:
        return len(self._flags)

    def __contains__(self, name: object) -> bool:
        return name in self._flags

    def __repr__(self) -> str:
        first = ", ".join(str(flag) for flag in islice(self._flags.values(), SHOWN))
        rest = f", and {len(self) - SHOWN} more" if len(self) > SHOWN else ""
        return f"<Flags {len(self)} at {self._version} from {self._source.value}: {first or 'none'}{rest}>"

    def _flag(self, name: str) -> Flag | None:
        return self._flags.get(name)


def _tell(name: str, kind: str, problem: str) -> None:
    if (name, kind) not in _told and len(_told) < MAX_TOLD:  # a getter runs for every request of the user's
        _told.add((name, kind))
        _log.warning("feature %r: %s; the default is used", name, problem)
