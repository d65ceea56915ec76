"""What can be refused, as one tree. Handlers answer each of these with a problem document; nothing is written then.

`PublisherError`
 ├ `InvalidError`     the request says something that cannot be (422), with every fault by field
 ├ `NotFoundError`    the thing does not exist (404)
 ├ `DuplicateError`   a name or key is taken (409)
 ├ `StaleError`       the caller saw an older version (412 by `If-Match`, 409 by `version`)
 └ `BrokerAwayError`  it needs NATS, and NATS does not answer (503)
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BrokerAwayError",
    "DuplicateError",
    "Fault",
    "InvalidError",
    "NotFoundError",
    "PublisherError",
    "StaleError",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: `field` is the name the caller knows it by, `message` says what to do."""

    field: str
    message: str


class PublisherError(Exception):
    """Base of everything the publisher refuses."""


class InvalidError(PublisherError):
    """Fields with values that cannot be; `faults` has all of them, not just the first."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))


class NotFoundError(PublisherError):
    """There is no `kind` called `name`."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"there is no {kind} {name!r}")


class DuplicateError(PublisherError):
    """`field` has a value that another one already has."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class StaleError(PublisherError):
    """The caller's version is not the current one, so its change would undo what it has not seen."""

    def __init__(self, *, current: int, by_header: bool) -> None:
        self.current = current
        self.by_header = by_header
        given = "If-Match" if by_header else "version"
        super().__init__(f"{given} is not the current version, which is {current}; read it again and repeat the change")


class BrokerAwayError(PublisherError):
    """NATS did not do what was asked; the message says why."""
