"""One generator: does what the conductor orders, and tells four times a second what it has counted."""

from __future__ import annotations

import gc
import math
import os
import socket
import time
from pathlib import Path
from random import Random
from typing import Final

from loadtest.machine import PAGE, file_limit
from loadtest.messages import (
    Close,
    Cut,
    Ended,
    Failed,
    Mark,
    Message,
    Open,
    Ping,
    Pong,
    Published,
    Ready,
    Report,
    Sample,
    Settle,
    Start,
    Stop,
)
from loadtest.swarm.channel import Channel
from loadtest.swarm.client import Client
from loadtest.swarm.crew import Crew, Place, Run
from loadtest.swarm.descriptors import capacity, fetch_connections
from loadtest.swarm.fetching import Fetcher
from loadtest.swarm.ledger import Ledger
from loadtest.swarm.loop import WRITE, Loop

__all__ = ["Generator"]

SWEEP_EVERY: Final = 0.125
SWEEPS: Final = 8
"""Each client is looked at once in this many sweeps, for what its model would not wait for any longer."""

SAMPLE, SWEEP = range(2)


class Generator:
    """Lives as long as its channel to the conductor; `channel` is a connected socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._loop = Loop()
        self._channel = Channel(channel, self._loop, self)
        self._start: Start | None = None
        self._run: Run | None = None
        self._crews: list[Crew] = []
        self._ledgers: list[Ledger] = []
        self._swept = 0
        self._leaving = False

    def run(self) -> None:
        """Serve until told to stop, or until the conductor is gone."""
        # What a generator makes is freed by its counts of references; the collector would only stop it for a while.
        gc.set_threshold(100_000, 20, 100)
        self._channel.say(Ready(process=-1, pid=os.getpid(), capacity=capacity()))
        self._loop.run()
        self._loop.close()
        self._channel.close()

    def handle(self, mask: int) -> None:
        """Read orders, and write what could not be written before."""
        self._loop.catch_up()
        if mask & WRITE:
            self._channel.flush()
            if self._leaving and self._channel.has_said_all:
                self._loop.stop()
        data = self._channel.receive()
        if data is None:
            return
        if not data:
            self._loop.stop()
            return
        try:
            for order in self._channel.orders(data):
                if not self._leaving:  # after its last word it has nothing to say
                    self._do(order)
        except (ValueError, OSError) as error:
            self._fail(f"{error}")
        except IndexError:
            self._fail("an order names a group or an environment that there is none of")

    def _fail(self, reason: str) -> None:
        self._channel.say(Failed(process=-1 if self._start is None else self._start.process, reason=reason))
        self._end()

    def _do(self, order: Message) -> None:
        match order:
            case Start():
                self._begin(order)
            case Open():
                self._open(order)
            case Published(versions=versions):
                for environment, version in versions:
                    self._ledgers[environment].learn(version)
            case Mark() | Settle() if self._run is not None:
                self._run.mark = order.fault if isinstance(order, Mark) else self._run.mark
                self._run.settling |= isinstance(order, Settle)
            case Close() | Cut():
                self._take_away(order)
            case Ping(sent=sent):
                self._channel.say(Pong(sent=sent, at=time.monotonic()))
            case Report():
                self._sample()
            case Stop():
                self._stop()
            case _:
                raise ValueError(f"{type(order).__name__} makes no sense here")

    def _begin(self, start: Start) -> None:
        if self._start is not None:
            raise ValueError("Start makes no sense twice")
        self._start = start
        run = self._run = Run(self._loop, epoch=start.epoch, signature=start.signature)
        places = [Place(target, start.first_source, start.sources) for target in start.targets]
        most = fetch_connections(start, file_limit(), [place.sources.is_loopback for place in places])
        fetchers = [
            Fetcher(run, place, connections, start.timeout) for place, connections in zip(places, most, strict=True)
        ]
        self._ledgers = [Ledger(int((start.began - start.epoch) * 1e6)) for _ in start.environments]
        chance = Random(start.seed * 1_000_003 + start.process)
        self._crews = [
            Crew(
                run,
                group,
                places[group.target],
                environments=start.environments,
                ledgers=self._ledgers,
                chance=chance,
                fetcher=fetchers[group.target],
            )
            for group in start.groups
        ]
        now = time.monotonic()
        self._loop.observed()
        self._loop.at(self._next_sample(now), self, SAMPLE)
        self._loop.at(now + SWEEP_EVERY, self, SWEEP)

    def _open(self, order: Open) -> None:
        crew, now = self._crews[order.group], time.monotonic()
        for number in range(order.count):
            client = Client(crew, crew.cell(order.first + number))
            crew.clients.append(client)
            when = now + order.over * number / order.count
            client.begin(when)
            client.cell.begins(when)

    def _take_away(self, order: Close | Cut) -> None:
        """Let clients leave, or break their connections."""
        if isinstance(order, Close):
            clients = self._crews[order.group].clients
            for _ in range(min(order.count, len(clients))):
                clients.pop().go_home()
            return
        for crew in self._crews:
            for client in crew.clients:
                if crew.chance.random() < order.share:
                    client.cut()

    def fire(self, kind: int, when: float, now: float) -> None:
        """Sample, or sweep."""
        del when
        if self._start is None or self._leaving:
            return
        if kind == SAMPLE:
            self._sample()
            self._loop.at(self._next_sample(now), self, SAMPLE)
        else:
            self._loop.at(now + SWEEP_EVERY, self, SWEEP)
            self._swept = (self._swept + 1) % SWEEPS
            for crew in self._crews:
                for client in crew.clients[self._swept :: SWEEPS]:
                    client.sweep(now)

    def _next_sample(self, now: float) -> float:
        """Return the next moment to sample: the same ones for all generators, however late one of them was before."""
        assert self._start is not None, "nothing is sampled before the start"
        began, every = self._start.began, self._start.report_every
        return began + (math.floor((now - began) / every + 1e-6) + 1) * every

    def _sample(self) -> None:
        start, run = self._start, self._run
        if start is None or run is None:
            raise ValueError("a report is asked for before the start")
        busy, late, longest = self._loop.observed()
        errors, run.errors = run.errors, {}
        now = time.monotonic()
        self._channel.say(
            Sample(
                process=start.process,
                at=now - start.began,
                groups=[crew.tally.taken(crew.behind, crew.new, crew.behind_us(now)) for crew in self._crews],
                cpu=time.process_time(),
                cpu_opening=run.meter.opening,
                cpu_fetching=run.meter.fetching,
                cpu_events=run.meter.events,
                rss=int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
                busy=busy,
                late=late,
                loop=longest,
                generator_errors=errors,
            )
        )

    def _stop(self) -> None:
        if self._start is not None:
            self._sample()
            now = time.monotonic()
            self._channel.say(Ended(process=self._start.process, lost=[crew.lost(now) for crew in self._crews]))
        self._end()

    def _end(self) -> None:
        self._leaving = True
        for crew in self._crews:
            for client in crew.clients:
                client.close()
        if self._channel.has_said_all:
            self._loop.stop()
