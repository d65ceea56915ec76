"""The contract with the broker: subjects, payloads, and what a version is.

A **version** is an `int`: microseconds since the Unix epoch. On the wire (NATS payload and SSE event alike) it is
``updated_at``: Unix seconds as a JSON number that always has a decimal point, the largest double that is not above
the exact time. The nearest double would be above it for half of all versions, and a client that compares the event
with the document's own time would take the same version for a newer one.

Messages are idempotent and ordered by their version, so every hop may drop, repeat or overtake as long as it keeps
the maximum.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

import msgspec

__all__ = [
    "COUNTS_SUBJECT",
    "FORETOLD_SUBJECTS",
    "MAX_AHEAD",
    "STREAM",
    "SUBJECTS",
    "CountsReply",
    "CountsRequest",
    "EdgeReply",
    "InvalidKeyError",
    "InvalidVersionError",
    "check_key",
    "decode",
    "encode",
    "expected_sequence",
    "foretold_key_of",
    "foretold_subject",
    "is_key",
    "is_too_far_ahead",
    "key_of",
    "now",
    "parse_version",
    "subject",
    "surrogate_key",
    "version_of",
    "wire_number",
    "wire_seconds",
]

STREAM: Final = "flags"
"""The JetStream stream; it holds the newest message of each subject."""

SUBJECTS: Final = "flags.environment.*.updated"
"""Every environment's subject, as a NATS wildcard."""

FORETOLD_SUBJECTS: Final = "flags.environment.*.foretold"
"""Core NATS only: a version that is about to be announced, for documents and never for streams; same payload."""

COUNTS_SUBJECT: Final = "flagstream.streams.count"
"""Core NATS request: every stream-server process answers a `CountsRequest` with a `CountsReply`."""

EDGES_SUBJECT: Final = "flagstream.edges.count"
"""Core NATS request without a payload of meaning: every edge that can be read answers with an `EdgeReply`."""

MAX_AHEAD: Final = 300 * 1_000_000
"""Microseconds that a version may be ahead of the reader's clock; one beyond would silence its environment."""

KEY_LENGTH: Final = 128
_MILLION: Final = 1_000_000
_MAX_VERSION: Final = 2**53
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


class InvalidKeyError(ValueError):
    """An environment key that cannot be a NATS subject token and a path segment."""

    def __init__(self, key: str) -> None:
        self.key = key
        found = "a dot" if "." in key else f"{len(key)} characters" if len(key) > KEY_LENGTH else "others"
        super().__init__(f"an environment key has 1 to {KEY_LENGTH} letters, digits, '-' or '_'; this one has {found}")


class InvalidVersionError(ValueError):
    """An `updated_at` that is not a time; the message says why."""


class _Updated(msgspec.Struct):
    updated_at: float


class CountsRequest(msgspec.Struct):
    """Asks every stream-server process how many streams it holds of `keys`."""

    keys: list[str]


class CountsReply(msgspec.Struct):
    """One process's answer: `server` names the process, `streams` maps key to the streams open now."""

    server: str
    streams: dict[str, int]


class EdgeReply(msgspec.Struct, frozen=True):
    """One edge's answer, over all environments: `edge` names it, the rest is what is open now.

    `origin_streams` are its own requests at stream servers, `waiting_streams` those at its waiting room.
    """

    edge: str
    clients: int
    origin_streams: int
    waiting_streams: int


_decoder = msgspec.json.Decoder(_Updated)


def is_key(key: str) -> bool:
    """Tell whether `key` can be an environment key: ``[A-Za-z0-9_-]{1,128}``."""
    return _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """Return `key`, or raise `InvalidKeyError`."""
    if not is_key(key):
        raise InvalidKeyError(key)
    return key


def subject(key: str) -> str:
    """Return the NATS subject of an environment; raises `InvalidKeyError`."""
    return f"flags.environment.{check_key(key)}.updated"


def key_of(subject: str) -> str | None:
    """Return the environment key in a NATS subject, None where it is no environment's subject."""
    parts = subject.split(".")
    match parts:
        case ["flags", "environment", key, "updated"] if is_key(key):
            return key
    return None


def foretold_subject(key: str) -> str:
    """Return the NATS subject that foretells a version of an environment; raises `InvalidKeyError`."""
    return f"flags.environment.{check_key(key)}.foretold"


def foretold_key_of(subject: str) -> str | None:
    """Return the environment key in a subject that foretells, None where it is none."""
    match subject.split("."):
        case ["flags", "environment", key, "foretold"] if is_key(key):
            return key
    return None


def surrogate_key(kind: str, key: str) -> str:
    """Return the name by which an edge purges what it holds of environment `key`: its ``stream`` or ``document``.

    A digest, because it stands in headers and logs of the edge and keys do not: ``document-1f0c9a6b2d4e8f70``.
    """
    return f"{kind}-{hashlib.sha256(f'flagstream:{key}'.encode()).hexdigest()[:16]}"


def now() -> int:
    """Return the version that this moment would have: microseconds since the epoch."""
    return time.time_ns() // 1000


def is_too_far_ahead(version: int, clock: int | None = None) -> bool:
    """Tell whether `version` is more than `MAX_AHEAD` after `clock` (default: now)."""
    return version > (now() if clock is None else clock) + MAX_AHEAD


def wire_seconds(version: int) -> float:
    """Return `version` in seconds: the largest double not above it."""
    seconds = version / _MILLION  # correctly rounded, so at most one step too high
    numerator, denominator = seconds.as_integer_ratio()  # exact, and cheaper than fractions
    if numerator * _MILLION > version * denominator:
        seconds = math.nextafter(seconds, -math.inf)
    return seconds


def wire_number(version: int) -> str:
    """Return the JSON number of `version`, always with a decimal point: ``1735229888.7601228``."""
    return repr(wire_seconds(version))


def version_of(seconds: float) -> int:
    """Return the version whose `wire_seconds` is `seconds`: the nearest microsecond, computed exactly."""
    return round(Fraction(seconds) * _MILLION)


def parse_version(value: object) -> int:
    """Return the version that an ``updated_at`` from outside means.

    `value` is an ISO 8601 string (a naive one is UTC) or a number of Unix seconds. Raises `InvalidVersionError`.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidVersionError("must be an ISO 8601 time or a number of Unix seconds")
    if isinstance(value, str):
        version = _parse_iso(value)
    elif isinstance(value, int):
        version = value * _MILLION
    elif math.isfinite(value):
        version = version_of(value)
    else:
        raise InvalidVersionError("must be a finite number of Unix seconds")
    if version <= 0:
        raise InvalidVersionError("must be after 1970-01-01")
    return version


def _parse_iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text) if "T" in text or " " in text else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidVersionError("is not an ISO 8601 time; write it like 2026-11-21T00:35:06.250875+00:00")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def encode(version: int) -> bytes:
    """Return the payload that announces `version`: ``{"updated_at": 1735229888.7601228}``, under 100 bytes."""
    return b'{"updated_at": %s}' % wire_number(version).encode()


def decode(payload: bytes) -> int:
    """Return the version a payload announces; raises `InvalidVersionError` on anything else off the wire."""
    try:
        seconds = _decoder.decode(payload).updated_at
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidVersionError(f"not an announcement: {error}") from None
    version = version_of(seconds) if math.isfinite(seconds) else 0
    if not 0 < version < _MAX_VERSION:
        raise InvalidVersionError("updated_at is out of range")
    return version


def expected_sequence(sequence: int) -> Mapping[str, str]:
    """Return the header that makes JetStream refuse a publish unless `sequence` is its subject's last one.

    The broker by itself keeps the last message to arrive, not the newest (NATS docs, JetStream headers).
    """
    return {"Nats-Expected-Last-Subject-Sequence": str(sequence)}
