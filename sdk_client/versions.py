"""Version arithmetic: a version is an `int` of microseconds since the Unix epoch, exact at every step.

On the wire it is ``updated_at``, Unix seconds as a double that is never above the exact time, so reading it back
means rounding to the nearest microsecond with exact arithmetic: truncating is wrong for half of all versions.
"""

from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from typing import Final

__all__ = ["MAX_VERSION", "decimal_seconds", "digits", "event_version", "seconds_of", "version_of"]

_MILLION: Final = 10**6
MAX_VERSION: Final = 2**53
"""Versions are below it, which is in the year 2255: beyond it no version could ever be newer."""
_SECONDS: Final = re.compile(r"\d{1,10}(\.\d{1,9})?", re.ASCII)
_DIGITS: Final = re.compile(r"\d{1,16}", re.ASCII)


def version_of(seconds: float) -> int:
    """Return the version whose wire number is `seconds`; ValueError where it is no time."""
    if not math.isfinite(seconds):
        raise ValueError("updated_at is not a finite number")
    return _checked(round(Fraction(seconds) * _MILLION))


def seconds_of(version: int) -> float:
    """Return `version` in Unix seconds: the largest double not above it."""
    seconds = version / _MILLION
    return seconds if Fraction(seconds) <= Fraction(version, _MILLION) else math.nextafter(seconds, -math.inf)


def event_version(data: str) -> int:
    """Return the version in an event's data, ``{"updated_at": 1735229888.7601228}``; ValueError on anything else."""
    try:
        payload = json.loads(data)
    except RecursionError:  # a few kilobytes of "[" would otherwise end the client
        raise ValueError("the event is nested too deeply") from None
    seconds = payload.get("updated_at") if isinstance(payload, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError("the event has no updated_at number")  # noqa: TRY004 - one error for all bad data
    if isinstance(seconds, int) and abs(seconds) >= MAX_VERSION:
        raise ValueError("updated_at is out of range")
    return version_of(seconds)


def decimal_seconds(text: str) -> int:
    """Return the version in a header of decimal seconds, ``1733480514.079725``; 0 where it is none."""
    return round(Fraction(text) * _MILLION) if _SECONDS.fullmatch(text) else 0


def digits(text: str) -> int:
    """Return the version in a header of decimal microseconds; 0 where it is none."""
    version = int(text) if _DIGITS.fullmatch(text) else 0
    return version if version < MAX_VERSION else 0


def _checked(version: int) -> int:
    if not 0 < version < MAX_VERSION:
        raise ValueError("updated_at is out of range")
    return version
