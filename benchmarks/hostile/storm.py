"""Clients that come and go in threads, a server that publishes to them, and what is wrong afterwards."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import ssl
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.hostile.answers import Answer, WrongError
from benchmarks.hostile.client import Client
from benchmarks.hostile.clients import BEHAVIOURS, HASTY, LIFETIME, PLAIN_ONLY, Behaviour
from benchmarks.hostile.remains import complaints_of, counts, left_behind
from benchmarks.hostile.verdict import Published, judge
from benchmarks.servers_under_test import NotInstalledError
from tests.stream_server.raw import running, settings_for

__all__ = ["HEARTBEAT", "Outcome", "Storm", "run"]

HEARTBEAT: Final = 0.3
BURSTS: Final = (1, 1, 5, 50, 400)
"""Versions published in a row; the longest is more than the kernel takes for a client with a small buffer."""

QUIET: Final = 0.4
"""Seconds at most between two bursts: what is lost at the end of one must not be hidden by the next."""

HASTE: Final = 6
"""One in so many clients does only what is over at once."""


@dataclass(frozen=True, slots=True)
class Storm:
    """How hard it blows: clients come for `seconds`, at most `visits` of them and `clients` at a time."""

    seconds: float
    clients: int
    seed: int
    visits: int = 1_000_000
    tls: bool = False
    behaviours: tuple[Behaviour, ...] = ()
    """Those that take part; all that there can be if empty."""

    @property
    def taking_part(self) -> tuple[Behaviour, ...]:
        """Those that take part: over TLS not all can."""
        chosen = self.behaviours or tuple(BEHAVIOURS)
        return tuple(each for each in chosen if not (self.tls and each in PLAIN_ONLY))


@dataclass(slots=True)
class Outcome:
    """What happened: visits by behaviour, streams read to their end, what they told, and what was wrong."""

    visits: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    told: int = 0
    published: int = 0
    conflated: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Add what happened in another thread."""
        self.visits += other.visits
        self.streams += other.streams
        self.told += other.told
        self.faults += other.faults


@dataclass(frozen=True, slots=True)
class Place:
    """Where the clients go, and what is told there."""

    port: int
    encryption: ssl.SSLContext | None
    published: Published


class Visitors:
    """Clients that come one after the other in each of several threads, and take `behaviours` in turn."""

    def __init__(self, storm: Storm, behaviours: tuple[Behaviour, ...], place: Place) -> None:
        self._storm = storm
        self._behaviours = behaviours
        self._place = place
        self._numbers = itertools.count()

    def come(self, until: float) -> Outcome:
        """Make visits until `until` (monotonic seconds), end those that are begun, and return what happened."""
        outcome = Outcome()
        while time.monotonic() < until and (number := next(self._numbers)) < self._storm.visits:
            behaviour = self._behaviours[number % len(self._behaviours)]
            name = f"{behaviour.__name__} {number // len(self._behaviours)}"
            outcome.visits[behaviour.__name__] += 1
            try:
                answers = self._visit(behaviour, random.Random(f"{self._storm.seed} {name}"))
            except (OSError, WrongError) as error:
                outcome.faults.append(f"{name}: {error!r}")
            else:
                outcome.streams += sum(answer.whole for answer in answers if answer.lifetime)
                outcome.told += sum(len(answer.versions) for answer in answers)
        return outcome

    def _visit(self, behaviour: Behaviour, chance: random.Random) -> list[Answer]:
        client = Client(self._place.port, chance, self._place.encryption, BEHAVIOURS[behaviour])
        try:
            behaviour(client)
        finally:
            client.close()
        return judge(client, self._place.published)


def run(storm: Storm) -> Outcome:
    """Let `storm` loose on a server of its own, and return what happened."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = _certificate(Path(folder)) if storm.tls else None
        return uvloop.run(_run(storm, certificate))


async def _run(storm: Storm, certificate: Path | None) -> Outcome:
    files = {"tls_certificate": str(certificate), "tls_key": str(certificate)} if certificate else {}
    settings = settings_for(lifetime=LIFETIME, heartbeat=HEARTBEAT, edge=False, streams_per_address=100_000, **files)
    encryption = ssl.create_default_context(cafile=certificate) if certificate else None
    with complaints_of() as complaints:
        async with running(settings) as server:
            metrics = server.parts.metrics
            conflated = metrics.conflated._value.get  # noqa: SLF001 - it has no reader
            published = Published(server.parts.hub, conflated)
            before = counts(server)
            outcome = await _let_loose(storm, Place(server.port, encryption, published))
            outcome.faults += await left_behind(server, before)
            outcome.published = published.count
            outcome.conflated = int(conflated())
            # Whoever is slow here reads again or leaves before that: such a stream was forgotten when its client left.
            if stuck := int(metrics.streams_ended.labels("stuck")._value.get()):  # noqa: SLF001 - the same
                outcome.faults.append(f"left behind until they were stuck: {stuck} streams")
    outcome.faults += complaints
    return outcome


async def _let_loose(storm: Storm, place: Place) -> Outcome:
    """Publish while clients come, until the last has left."""
    taking_part = storm.taking_part
    visitors = Visitors(storm, taking_part, place)
    hasty = tuple(each for each in HASTY if each in taking_part)
    others = Visitors(storm, hasty, place) if hasty else visitors
    loop, until = asyncio.get_running_loop(), time.monotonic() + storm.seconds
    with ThreadPoolExecutor(storm.clients) as threads:
        coming = asyncio.gather(
            *(
                loop.run_in_executor(threads, (visitors if number % HASTE else others).come, until)
                for number in range(1, storm.clients + 1)
            )
        )
        await _publish(place.published, random.Random(storm.seed), coming.done)
        outcome = Outcome()
        for each in await coming:
            outcome.add(each)
        return outcome


async def _publish(published: Published, chance: random.Random, over: Callable[[], bool]) -> None:
    while not over():
        for _ in range(chance.choice(BURSTS)):
            published.publish()
            await asyncio.sleep(0)
            published.settle()
        await asyncio.sleep(chance.uniform(0, QUIET))


def _certificate(folder: Path) -> Path:
    """Make a certificate for localhost and its key, in one file."""
    if shutil.which("openssl") is None:
        raise NotInstalledError("openssl is not installed; on Debian: apt-get install openssl")
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = [*request.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", "key", "-out", "certificate"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both"
    both.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return both
