"""Flag values: any JSON value of at most 20,000 characters, kept as its shortest JSON text."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from publisher.errors import Fault, InvalidError

__all__ = ["DEEPEST", "LARGEST_INTEGER", "VALUE_LENGTH", "for_sdk", "from_text", "to_text"]

VALUE_LENGTH: Final = 20_000
"""Characters of a value's JSON text, as Flagsmith allows."""

DEEPEST: Final = 64
"""Levels of arrays and objects inside a value."""

LARGEST_INTEGER: Final = 2**53 - 1
"""The largest integer that a JavaScript client reads back unchanged (RFC 8259, section 6)."""


def to_text(value: Any, *, field: str = "value") -> str:
    """Return the JSON text of `value`; raises `InvalidError` when it cannot be a flag's value."""
    _check(value, field, 0)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if len(text) > VALUE_LENGTH:
        raise InvalidError(Fault(field, f"must be at most {VALUE_LENGTH:,} characters as JSON; it has {len(text):,}"))
    return text


def from_text(text: str) -> Any:
    """Return the value that was stored as `text`."""
    return json.loads(text)


def for_sdk(text: str) -> str | float | bool | None:
    """Return a stored value as published SDKs read it: scalars as they are, objects and arrays as JSON text."""
    value = json.loads(text)
    return text if isinstance(value, dict | list) else value


def _check(value: Any, field: str, depth: int) -> None:
    if depth >= DEEPEST and isinstance(value, dict | list):
        raise InvalidError(Fault(field, f"must not be nested deeper than {DEEPEST} levels"))
    if isinstance(value, dict):
        for key, each in value.items():
            _check_scalar(key, field)
            _check(each, field, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, field, depth + 1)
    else:
        _check_scalar(value, field)


def _check_scalar(value: Any, field: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidError(Fault(field, "must not contain half of a surrogate pair")) from None
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise InvalidError(
                Fault(field, f"integers must be within ±{LARGEST_INTEGER}; send a larger one as a string")
            )
    elif not isinstance(value, float) or not math.isfinite(value):
        raise InvalidError(Fault(field, "must be a JSON value: a string, a finite number, true, false, null, …"))
