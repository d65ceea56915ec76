"""One client through the fault script: started, watched, and started again where a phase left it deaf or dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.faulty.contenders import ROOT, Contender
from benchmarks.faulty.phases import PATIENCE, Phase, heal
from benchmarks.faulty.verdict import Shown, busiest, missed, reached_at, stale
from benchmarks.faulty.world import World
from benchmarks.processes import EndedError
from loadtest.machine import cpu_seconds, tree

__all__ = ["App", "Outcome", "conduct"]

START: Final = 30.0
POLL: Final = 0.02
SETTLE: Final = 0.5
"""Seconds between two phases and after a start, in which a client does what it still has to do."""
BACK: Final = 10.0
"""Seconds at most in which a client that is current may have its stream again, so that no phase begins without one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one phase did to one client.

    Requests are those made while the fault lasted, `a_second` the most of them within one second, `refused` the
    connections that the kernel refused where the port was closed, of streams and documents; `stale_s` is the
    time behind the truth until the client had the last change; `current_after_s` the seconds from the server's
    recovery until the client was current by itself, None if it was not within `PATIENCE`; `missed` are the changes
    that it had not reached by then; `fate` is "alive", "deaf" (the last change did not reach it either) or "dead".
    """

    client: str
    phase: str
    streams: int
    documents: int
    refused: int
    a_second: int
    cpu_s: float
    stale_s: float
    current_after_s: float | None
    missed: int
    fate: str


@dataclass
class App:
    """A client's process and what it said that it saw."""

    command: Sequence[str]
    log: Path
    shown: list[Shown] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        # The kernel ends it with us, even if we are killed: setpriv(1) sets that and becomes the program.
        wrapper = shutil.which("setpriv")
        prefix = [wrapper, "--pdeathsig", "TERM", "--"] if wrapper else []
        with self.log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *prefix,
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for pid in reversed(self.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._process.wait()
        await self._reading

    @property
    def pids(self) -> list[int]:
        """The ids of its processes, none once it has ended."""
        return tree(self._process.pid) if self.running else []

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    def cpu(self) -> float:
        """Return the CPU seconds that its processes have used."""
        with contextlib.suppress(OSError):  # a browser's helper that has just gone
            return cpu_seconds(self.pids)
        return 0.0

    async def reaches(self, number: int, seconds: float) -> bool:
        """Wait until it has seen `number` or newer; tells whether it has, within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running:
            if reached_at(number, self.shown) is not None:
                return True
            await asyncio.sleep(POLL)
        return reached_at(number, self.shown) is not None

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            at, _, number = line.decode().partition(" ")
            with contextlib.suppress(ValueError):  # a line that is not one of ours, or no value yet
                self.shown.append(Shown(float(at), int(number)))


async def conduct(contender: Contender, phases: Sequence[Phase], folder: Path, alone: asyncio.Lock) -> list[Outcome]:
    """Return what each phase did to the client; raises EndedError when it does not even start.

    `alone` is held while connections are refused, which only the kernel counts, for all clients together.
    """
    log = folder / f"{contender.name}.log"
    outcomes: list[Outcome] = []
    left = list(phases)
    async with World() as world:
        while left:
            async with App(contender.command(world.url), log) as app:
                if not await _is_started(app, world):
                    raise EndedError(f"{contender.name} did not start: {log.read_text(errors='replace')[-2000:]}")
                fate = "alive"
                while left and fate == "alive":
                    outcomes.append(await _play(contender.name, left.pop(0), world, app, alone))
                    fate = outcomes[-1].fate
    return outcomes


async def _is_started(app: App, world: World) -> bool:
    """Start on a well server; a client counts as started once it holds a change made while its stream was open."""
    if not await app.reaches(world.changes[-1].number, START):
        return False
    await _streaming(world, START)
    reached = await app.reaches(world.change().number, PATIENCE)
    await asyncio.sleep(SETTLE)
    return reached


async def _streaming(world: World, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while all(stream.mute for stream in world.streams) and time.monotonic() < deadline:
        await asyncio.sleep(POLL)


async def _play(client: str, phase: Phase, world: World, app: App, alone: asyncio.Lock) -> Outcome:
    async with contextlib.nullcontext() if phase.seen else alone:
        await phase.prepare(world)
        del world.stream_requests[:], world.document_requests[:]
        cpu, refused, begin = app.cpu(), _refused(), time.time()
        await phase.begin(world)
        for moment in phase.changes:
            await asyncio.sleep(begin + moment - time.time())
            world.change()
        await asyncio.sleep(begin + phase.seconds - time.time())
        streams, documents = world.stream_requests[:], world.document_requests[:]
        used, refused = app.cpu() - cpu, 0 if phase.seen else _refused() - refused
        await heal(world)
    healed, newest = time.time(), world.changes[-1].number
    current = await app.reaches(newest, phase.patience)
    reached = reached_at(newest, app.shown)
    lost = missed(world.changes, app.shown, begin, time.time())
    await asyncio.sleep(SETTLE if current else 0.0)
    held = await app.reaches(world.change().number, phase.patience)
    end = time.time()
    if held:
        await _streaming(world, BACK)
        await asyncio.sleep(SETTLE)
    return Outcome(
        client=client,
        phase=phase.name,
        streams=len(streams),
        refused=refused,
        documents=len(documents),
        a_second=busiest(sorted([*streams, *documents])),
        cpu_s=used,
        stale_s=stale(world.changes, app.shown, begin, end),
        current_after_s=None if not current or reached is None else max(0.0, reached - healed),
        missed=lost,
        fate="dead" if not app.running else "alive" if held else "deaf",
    )


def _refused() -> int:
    """Return how many connections this machine's kernel has seen fail to open (proc_net_snmp, AttemptFails)."""
    names, figures = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    )
    return int(figures[names.index("AttemptFails")])
