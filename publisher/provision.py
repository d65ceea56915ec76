"""The JetStream stream: made when it is missing, checked when it is there, never changed.

A stream that somebody configured otherwise is theirs to change: each difference is named with the command that
removes it. Publishing goes on where it can work all the same; where announcements would be lost it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client

from publisher.messages import STREAM, SUBJECTS
from publisher.messages.jetstream import JetStreamError, StreamMissingError, call, stream_info

__all__ = ["Difference", "Provisioned", "StreamUnfitError", "configuration", "differences", "provision"]

logger = logging.getLogger(__name__)

STREAM_EXISTS: Final = 10058


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of an existing stream that is not as it should be; `fatal` where announcements would be lost."""

    name: str
    found: object
    wanted: object
    fatal: bool
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found!r} and should be {self.wanted!r}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The stream is there. `created` tells whether this call made it; `differences` are none of them fatal."""

    created: bool
    differences: tuple[Difference, ...]


class StreamUnfitError(Exception):
    """The stream exists with a configuration that loses announcements; `differences` names each setting."""

    def __init__(self, found: tuple[Difference, ...]) -> None:
        self.differences = found
        super().__init__(f"the JetStream stream {STREAM} cannot be used: " + "; ".join(map(str, found)))


def configuration(replicas: int) -> dict[str, Any]:
    """Return the stream as it is made. No `max_age`: an environment that rests for a year is still announced."""
    return {
        "name": STREAM,
        "subjects": [SUBJECTS],
        "retention": "limits",
        "max_msgs_per_subject": 1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "storage": "file",
        "discard": "old",
        "num_replicas": replicas,
        "allow_direct": True,
    }


async def provision(client: Client, *, replicas: int = 1) -> Provisioned:
    """Make the stream, or check the one that is there.

    Raises `StreamUnfitError` when it cannot be used as it is, and as `jetstream.call` does. Differences that do no
    harm are returned.
    """
    try:
        found = (await stream_info(client)).config
    except StreamMissingError:
        try:
            await call(client, f"STREAM.CREATE.{STREAM}", configuration(replicas))
        except JetStreamError as error:
            if error.code != STREAM_EXISTS:
                raise
            found = (await stream_info(client)).config  # another publisher was first
        else:
            logger.info("made the JetStream stream %s", STREAM)
            return Provisioned(created=True, differences=())
    faults = tuple(differences(found, configuration(replicas)))
    if any(fault.fatal for fault in faults):
        raise StreamUnfitError(faults)
    return Provisioned(created=False, differences=faults)


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield what is different about the stream `found`, in the names of JetStream's own configuration."""
    subjects = found.get("subjects") or []
    if subjects != wanted["subjects"]:
        covered = any(_covers(subject, SUBJECTS) for subject in subjects)
        yield Difference("subjects", subjects, wanted["subjects"], not covered, _edit(f"--subjects='{SUBJECTS}'"))
    for name, remedy, fatal in (
        # A stream that drops what was consumed, or that acknowledges nothing, holds no newest version.
        ("retention", _new(), True),
        ("max_msgs_per_subject", _edit("--max-msgs-per-subject=1"), False),
        ("max_msgs", _edit("--max-msgs=-1"), False),
        ("max_bytes", _edit("--max-bytes=-1"), False),
        ("max_age", _edit("--max-age=0"), False),
        ("storage", _new(), False),
        ("discard", _edit("--discard=old"), False),
        ("num_replicas", _edit(f"--replicas={wanted['num_replicas']}"), False),
        ("allow_direct", _edit("--allow-direct"), False),
    ):
        if found.get(name, False) != wanted[name]:
            yield Difference(name, found.get(name), wanted[name], fatal, remedy)
    for name in ("sealed", "no_ack", "mirror", "subject_transform", "discard_new_per_subject"):
        if found.get(name):
            yield Difference(name, found[name], None, fatal=True, remedy=_new())


def _covers(wide: str, narrow: str) -> bool:
    """Tell whether every subject of `narrow` is one of `wide` (NATS wildcards: ``*`` a token, ``>`` the rest)."""
    wides, narrows = wide.split("."), narrow.split(".")
    if wides[-1] == ">":
        wides = wides[:-1] + ["*"] * (len(narrows) - len(wides) + 1)
    return len(wides) == len(narrows) and all(of in {"*", to} for of, to in zip(wides, narrows, strict=True))


def _edit(option: str) -> str:
    return f"run `nats stream edit {STREAM} {option}`"


def _new() -> str:
    return f"this cannot be changed; run `nats stream rm {STREAM}`, the publisher makes it anew and announces again"
