"""The load generator as Python drives it: several processes of native/swarm.c that act as one.

Each process holds at most `SHARE` streams, because the hard limit of open files is often 20,000, and has loopback
addresses of its own to connect from.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.histogram import Histogram
from benchmarks.native_programs import compiled
from benchmarks.processes import EndedError, Process

__all__ = ["Group", "Report", "Swarm"]

SHARE: Final = 19_500
SOURCES: Final = 4
"""Loopback addresses a process connects from: room for streams that reopen while old ports wait (TIME_WAIT)."""

PATIENCE: Final = 20.0
"""Seconds for an answer beyond those that a command may take by itself."""


@dataclass(frozen=True, slots=True)
class Group:
    """Streams that were opened together; `shares` says how many of them each process holds."""

    index: int
    shares: tuple[int, ...]

    @property
    def streams(self) -> int:
        """How many there are."""
        return sum(self.shares)


@dataclass(slots=True)
class Report:
    """What became of a group: counts, moments in microseconds since the epoch, histograms since they were cleared.

    `opened` were answered with a 200; `ended` came to a clean end, `whole` of these with their length, as an edge sends
    a body that it has to its end; `cut` had no final chunk; `failed` did not get as far as an answer, `refused` got
    another status. `holding` are open streams with the version asked for,
    `reached` are clients that were told of it on any stream. `backwards` are events older than one before them on the
    same stream, `stale` are streams that began with less than their client knew.
    """

    met: bool = True
    open: int = 0
    opened: int = 0
    ended: int = 0
    whole: int = 0
    cut: int = 0
    failed: int = 0
    refused: int = 0
    events: int = 0
    deliveries: int = 0
    backwards: int = 0
    stale: int = 0
    holding: int = 0
    reached: int = 0
    last_opened: int = 0
    last_raised: int = 0
    last_reached: int = 0
    latency: Histogram = field(default_factory=Histogram)
    opening: Histogram = field(default_factory=Histogram)

    def add(self, told: dict[str, Any], *, met: bool) -> None:
        """Add what one process tells of its part."""
        self.met &= met
        for name, value in told.items():
            if name in {"latency", "opening"}:
                setattr(self, name, getattr(self, name) + Histogram(value))
            elif name.startswith("last_"):
                setattr(self, name, max(getattr(self, name), value))
            else:
                setattr(self, name, getattr(self, name) + value)


class Swarm:
    """Streams to one port, at most `streams` of them; a context manager that ends its processes.

    `first` is a number below which other swarms of this run have their loopback addresses.
    """

    def __init__(self, port: int, streams: int, folder: Path, *, first: int = 0, share: int = SHARE) -> None:
        count = -(-streams // share)
        program = str(compiled("swarm"))
        self._capacities = [min(share, streams - share * number) for number in range(count)]
        self._free = list(self._capacities)
        self.processes: list[Process] = []
        self.first_free = first + count * SOURCES
        """The first loopback address that the next swarm can have."""
        try:
            for number, capacity in enumerate(self._capacities):
                source = first + number * SOURCES + 1
                command = [program, "127.0.0.1", str(port), str(capacity), str(source), str(SOURCES)]
                self.processes.append(Process(command, folder / f"swarm-{port}-{source}.log", talks=True))
            for process in self.processes:
                self._answer(process, PATIENCE)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """The ids of its processes."""
        return [process.pid for process in self.processes]

    def open(self, path: str, streams: int, **options: int) -> Group:
        """Begin to open streams; `options` are those of ``open`` in native/swarm.c, numbers of the whole swarm."""
        shares = self._shares(streams)
        parts = {name: _parts(options.pop(name), shares) for name in ("pace", "churn", "at_once") if name in options}
        for number, process in enumerate(self.processes):
            own: dict[str, int] = {name: part[number] for name, part in parts.items()}
            command: dict[str, Any] = {"do": "open", "path": path, "streams": shares[number], **own, **options}
            self._tell(process, command)
        answers = [self._answer(process, PATIENCE) for process in self.processes]
        return Group(answers[0]["group"], shares)

    def wait_open(self, group: Group, seconds: float) -> Report:
        """Wait until all streams of `group` are open; `Report.met` says whether they are."""
        return self._wait(group, seconds, [{"open": n} for n in group.shares])

    def wait_opened(self, group: Group, seconds: float, *, streams: int) -> Report:
        """Wait until `streams` were ever opened in `group`, each process its part of them."""
        return self._wait(group, seconds, [{"opened": n} for n in _parts(streams, group.shares)])

    def wait_closed(self, group: Group, seconds: float) -> Report:
        """Wait until no stream of `group` is open."""
        return self._wait(group, seconds, [{"closed": 0} for _ in group.shares])

    def wait_holding(self, group: Group, version: int, seconds: float) -> Report:
        """Wait until all streams of `group` hold `version` or a newer one."""
        return self._wait(group, seconds, [{"version": version, "holding": n} for n in group.shares])

    def wait_reached(self, group: Group, version: int, seconds: float) -> Report:
        """Wait until every client of `group` was told of `version` or a newer one, on whichever of its streams."""
        return self._wait(group, seconds, [{"version": version, "reached": n} for n in group.shares])

    def halt(self, group: Group) -> Group:
        """Give up what waits to be opened; return the part of `group` that is open."""
        self._ask({"do": "halt"})
        time.sleep(1)  # what is under way
        answers = self._ask({"do": "report"})
        return Group(group.index, tuple(int(answer["groups"][group.index]["open"]) for answer in answers))

    def report(self, group: Group, *, clear: bool = False, version: int = 0) -> Report:
        """Tell what became of `group`; `clear` empties the histograms of all groups and their counts of events."""
        answers = self._ask({"do": "report", "clear": int(clear), "version": version})
        return self._merged(answers, group)

    def slow(self, group: Group, streams: int) -> None:
        """Let `streams` of `group` stop reading."""
        for process, share in zip(self.processes, _parts(streams, group.shares), strict=True):
            self._tell(process, {"do": "slow", "group": group.index, "streams": share})
        for process in self.processes:
            self._answer(process, PATIENCE)

    def resume(self, group: Group) -> None:
        """Let all of `group` read again."""
        self._ask({"do": "resume", "group": group.index})

    def close_group(self, group: Group) -> None:
        """Close all streams of `group`."""
        self._ask({"do": "close", "group": group.index})

    def storm(self, at_once: int) -> int:
        """Close every stream and open it again at once, `at_once` handshakes at a time; return when it began."""
        share = max(at_once // len(self.processes), 1)
        return min(int(answer["moment"]) for answer in self._ask({"do": "storm", "at_once": share}))

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shares(self, streams: int) -> tuple[int, ...]:
        """Spread `streams` over the processes by the room that each has left."""
        room = sum(self._free)
        if streams > room:
            raise ValueError(f"{streams} streams are more than the {room} that this swarm has room for")
        shares = []
        for number, free in enumerate(self._free):
            share = -(-streams * free // room) if room else 0
            streams, room = streams - share, room - free
            self._free[number] -= share
            shares.append(share)
        return tuple(shares)

    def _wait(self, group: Group, seconds: float, conditions: list[dict[str, int]]) -> Report:
        for process, condition in zip(self.processes, conditions, strict=True):
            self._tell(process, {"do": "wait", "seconds": seconds, "group": group.index, **condition})
        answers = [self._answer(process, seconds + PATIENCE) for process in self.processes]
        return self._merged(answers, group)

    @staticmethod
    def _merged(answers: list[dict[str, Any]], group: Group) -> Report:
        report = Report()
        for answer in answers:
            report.add(answer["groups"][group.index], met=bool(answer["met"]))
        return report

    def _ask(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        for process in self.processes:
            self._tell(process, command)
        return [self._answer(process, PATIENCE) for process in self.processes]

    @staticmethod
    def _tell(process: Process, command: dict[str, Any]) -> None:
        try:
            process.input.write(json.dumps(command).encode() + b"\n")
            process.input.flush()
        except BrokenPipeError:
            raise EndedError(f"the load generator has ended: {process.said()}") from None

    @staticmethod
    def _answer(process: Process, seconds: float) -> dict[str, Any]:
        line = b"".join(_line(process, seconds))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EndedError(f"the load generator refused: {answer['error']}")
        return answer


def _parts(total: int, shares: Sequence[int]) -> list[int]:
    """Split `total` in the proportion of `shares`, to the last one."""
    streams, parts, left = sum(shares), [], total
    for share in shares:
        part = left * share // streams if streams else 0
        parts.append(part)
        left, streams = left - part, streams - share
    return parts


def _line(process: Process, seconds: float) -> Iterator[bytes]:
    """Yield the parts of the next line; raises `EndedError` when it does not come in time."""
    descriptor, deadline = process.output.fileno(), time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([descriptor], [], [], max(left, 0))
        part = os.read(descriptor, 1 << 16) if ready else b""
        if not part:
            with contextlib.suppress(EndedError):
                process.kill()
            raise EndedError(f"the load generator did not answer: {process.said()}")
        yield part
        if part.endswith(b"\n"):
            return
