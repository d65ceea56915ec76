"""Reading a feature's value as a type: strict where a mix-up would hide, lenient where only the notation differs.

Flagsmith keeps strings, integers and booleans; whatever else a feature holds (2.5, JSON) comes as text, and so does
a number that was typed as text. Text is therefore read as a boolean, a number or JSON where that is what it says. The
other way round nothing is converted: a number is not text, and a boolean is neither 0 nor 1. JSON knows one kind of
number, so 3.0 is an integer and 3 a number. None is no value, hence of no type.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, Never

from sdk_client.errors import ValueTypeError

__all__ = ["as_boolean", "as_integer", "as_json", "as_number", "as_string"]

_BOOLEANS: Final = {"true": True, "false": False}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,1000}")  # ASCII only, and far below the length that int() refuses
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,1000}(\.[0-9]{0,1000})?|\.[0-9]{1,1000})([eE][+-]?[0-9]{1,10})?")
_EXACT: Final = 2**53
"""Up to here a float still tells one integer from the next."""


def as_boolean(value: Any) -> bool:
    """Return a boolean, or the text "true" or "false" in any case, as a boolean; raises ValueTypeError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (read := _BOOLEANS.get(value.strip().lower())) is not None:
        return read
    raise ValueTypeError("boolean", value)


def as_string(value: Any) -> str:
    """Return text as it is; raises ValueTypeError for everything else."""
    if isinstance(value, str):
        return value
    raise ValueTypeError("string", value)


def as_integer(value: Any) -> int:
    """Return an integer, 3.0, or the text of either ("3", "3.0") as an integer; raises ValueTypeError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(text := value.strip()):
        return int(text)
    number = _number(value)
    if number is not None and number.is_integer() and abs(number) <= _EXACT:
        return int(number)
    raise ValueTypeError("integer", value)


def as_number(value: Any) -> float:
    """Return a finite number, or the text of one ("2.5", "1e3"), always as a float; raises ValueTypeError."""
    number = _number(value)
    if number is None:
        raise ValueTypeError("number", value)
    return number


def as_json(value: Any) -> Any:
    """Return what text says as JSON (RFC 8259: no NaN), and any other value as it is; raises ValueTypeError."""
    if value is None:
        raise ValueTypeError("JSON", value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueTypeError("JSON", value) from None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return number if math.isfinite(number) else None


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
