"""The knobs of the reserved environment: which of its flags mean what, and how their values are read.

| flag | value |
|---|---|
| ``kill-switch`` | ``KEY, KEY`` or ``*``: environments whose streams carry no events |
| ``brown-out`` | ``KEY=SECONDS, *=SECONDS``: seconds between two events |
| ``shed`` | ``KEY=PERCENT, *=PERCENT``: share of new streams that are turned away |

Keys are separated by commas or spaces, ``*`` is every environment without an entry of its own. A flag that is off,
missing or without a value controls nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from publisher.messages import is_key
from stream_server.control import EVERYONE

__all__ = ["KNOBS", "UnreadableError", "read_document", "read_keys", "read_percentages", "read_seconds"]

LONGEST: Final = 86400.0
"""Seconds of a brown-out at most."""

_SEPARATOR: Final = re.compile(r"[,\s]+")
_AROUND_EQUALS: Final = re.compile(r"\s*=\s*")
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


class UnreadableError(ValueError):
    """A value is not of the form that its knob takes; the sentence quotes nothing of it, since keys are not logged."""


class _Feature(msgspec.Struct):
    name: str


class _Flag(msgspec.Struct):
    feature: _Feature
    enabled: bool
    feature_state_value: Any = None


_decoder = msgspec.json.Decoder(list[_Flag])


def read_document(body: bytes) -> dict[str, object]:
    """Return the values of the flags that are on, by name, of a document of ``/api/v1/flags/``.

    Raises `UnreadableError`.
    """
    try:
        flags = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreadableError("the document is no list of flags") from None
    return {flag.feature.name: flag.feature_state_value for flag in flags if flag.enabled}


def read_keys(value: object) -> frozenset[str]:
    """Return the keys of ``KEY, KEY``. Raises `UnreadableError`."""
    return frozenset(_key(word) for word in _words(value))


def read_seconds(value: object) -> dict[str, float]:
    """Return the seconds of ``KEY=SECONDS, …`` by key. Raises `UnreadableError`."""
    return {key: _number(text, LONGEST) for key, text in _pairs(value).items()}


def read_percentages(value: object) -> dict[str, float]:
    """Return the shares, 0 to 1, of ``KEY=PERCENT, …`` by key. Raises `UnreadableError`."""
    return {key: _number(text.removesuffix("%"), 100) / 100 for key, text in _pairs(value).items()}


KNOBS: Final[dict[str, tuple[str, Callable[[object], Any]]]] = {
    "kill-switch": ("killed", read_keys),
    "brown-out": ("intervals", read_seconds),
    "shed": ("shares", read_percentages),
}
"""By the name of its flag, which field of `Controls` a knob sets, and how its value is read."""


def _words(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, str):
        raise UnreadableError("it is no text")
    return [word for word in _SEPARATOR.split(_AROUND_EQUALS.sub("=", value)) if word]


def _pairs(value: object) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in _words(value):
        key, equals, number = word.partition("=")
        if not equals:
            raise UnreadableError("an entry has no = and number")
        if _key(key) in pairs:
            raise UnreadableError("one environment has two entries")
        pairs[key] = number
    return pairs


def _key(word: str) -> str:
    if word != EVERYONE and not is_key(word):
        raise UnreadableError("an entry begins with something that is no environment key")
    return word


def _number(text: str, most: float) -> float:
    if _NUMBER.fullmatch(text) is None or float(text) > most:
        raise UnreadableError(f"an entry's number is not one from 0 to {most:g}")
    return float(text)
