"""Stream servers and edges are replaced one after the other under load, and nobody notices."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.edge.clients.site import LIFE, Site, address
from tests.edge.clients.swarm import Swarm
from tests.edge.varnish import Varnish
from tests.programs import Program
from tests.servers import NatsServer, json_lines, wait_until

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

ENVIRONMENTS = 5
CLIENTS = 100
"""Of each environment."""

PACE = 0.2
"""Seconds between two changes, each of another environment."""

NEWEST_WITHIN = 6.0
"""Seconds within which everybody holds a change, whatever is being replaced; 0.3 where nobody else is busy."""


@pytest.fixture
def site(tmp_path: Path, nats_server: NatsServer) -> Iterator[Site]:
    with Site(tmp_path, nats_server, origins=2, serving={"supervised": "true"}).running() as running:
        yield running


@dataclass
class Changes:
    """What was announced: version and moment, by environment."""

    keys: list[str]
    made: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    async def make(self, site: Site) -> None:
        """Change one environment after the other, for ever."""
        for number, key in enumerate(itertools.cycle(self.keys)):
            version = await asyncio.to_thread(site.set, key, f"n{number}")
            self.made.setdefault(key, []).append((version, time.monotonic()))
            await asyncio.sleep(PACE)


@asynccontextmanager
async def under_load(site: Site, ports: list[int]) -> AsyncIterator[tuple[Swarm, Changes]]:
    """Run clients and changes; afterwards everybody must have held every change in time, over whole streams only."""
    keys = [each.key for each in await asyncio.to_thread(site.make, *(f"e{number}" for number in range(ENVIRONMENTS)))]
    changes = Changes(keys)
    async with Swarm(keys, CLIENTS, lambda: ports[0]) as swarm:
        began = time.monotonic()
        making = asyncio.create_task(changes.make(site))
        try:
            await until(lambda: all(each.newest for each in swarm.clients), "everybody's first version")
            yield swarm, changes
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
        last = {key: made[-1][0] for key, made in changes.made.items()}
        await until(lambda: all(each.newest >= last[each.key] for each in swarm.clients), "everybody's last version")
        seconds = time.monotonic() - began
    assert not swarm.faults, swarm.faults[:5]
    assert not sum(each.instant_ends for each in swarm.clients)
    lags = [
        client.lag(version, announced)
        for client in swarm.clients
        for version, announced in changes.made[client.key]
        if client.held[0][1] <= version  # announced since it is here
    ]
    connects = sum(each.connects for each in swarm.clients) / len(swarm.clients)
    report = f"{len(lags)} checks over {seconds:.0f} s, longest lag {max(lags):.2f} s, {connects:.1f} connects a client"
    print(f"\n{report}")  # noqa: T201 - pytest shows it when the test fails
    assert max(lags) <= NEWEST_WITHIN, report
    assert connects <= seconds / (LIFE["lifetime"] - LIFE["join_window"]) + 3, report


async def until(condition: object, what: str, seconds: float = 20) -> None:
    assert callable(condition)
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"{what} did not happen within {seconds:g} s")


async def replace(origin: Program) -> None:
    """Stop one as a service manager does, and start its successor."""
    assert await asyncio.to_thread(origin.stop) == 0
    await asyncio.to_thread(origin.start)


def reloaded(origin: Program) -> int:
    return sum(1 for line in json_lines(origin.output()) if line.get("event") == "reloaded")


def sessions(edge: Varnish) -> int:
    """Return how many clients are connected to an edge."""
    return sum(
        value for name, value in edge.counters().items() if name.startswith("MEMPOOL.sess") and name.endswith(".live")
    )


async def test_every_client_holds_the_newest_version_while_origins_are_replaced_one_by_one(site: Site) -> None:
    async with under_load(site, [site.edge.port]):
        first, second = site.origins
        await replace(first)
        await asyncio.sleep(2)  # what an operator, or an orchestrator, waits for: the edge has seen it ready
        await replace(second)
        os.kill(first.process.pid, signal.SIGHUP)
        await until(lambda: reloaded(first), "the reload")
        await asyncio.sleep(LIFE["lifetime"] + 1)


async def test_an_edge_is_drained_and_stopped_without_a_cut_stream(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    streams = {name: value for name, value in LIFE.items() if name != "retry"} | {"edge": True}
    other = Varnish(folder, streams=streams, origins=[address(each) for each in site.origins])
    await asyncio.to_thread(other.start)
    try:
        ports = [site.edge.port, other.port]
        async with under_load(site, ports) as (swarm, _):
            await asyncio.to_thread(Path(site.edge.settings.drain_file).touch)
            for path, status in (("", 503), ("/readiness", 503), ("/liveness", 200)):
                answer = await asyncio.to_thread(httpx.get, f"{site.edge.url}/health{path}")
                assert answer.status_code == status, path
            ports.reverse()  # the load balancer has noticed
            # Two lifetimes: who uses his connection again learns from his next answer that it is the last one.
            within = 2 * LIFE["lifetime"] + 3
            await asyncio.to_thread(wait_until, lambda: sessions(site.edge) == 0, "the last stream's end", within)
            await asyncio.to_thread(site.edge.stop)
            assert not swarm.faults
            await asyncio.sleep(1)
    finally:
        await asyncio.to_thread(other.stop)
