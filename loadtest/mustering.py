"""Brings the generators of a run together: on this host, or through agents on others."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from loadtest.dividing import MOST_PROCESSES, RESERVE, Crowd, processes_for
from loadtest.generators import COMMAND, Generator, GeneratorError, LocalGenerator
from loadtest.machine import file_limit, resident
from loadtest.remote import RemoteHost
from loadtest.troop import Troop

__all__ = ["Hosts", "muster"]


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where generators are to run: `processes` on each host, None for as many as it takes."""

    processes: int | None = None
    agents: Sequence[str] = ()
    """``HOST:PORT`` each; none: this host."""
    token: str = ""
    command: Sequence[str] = COMMAND


@asynccontextmanager
async def muster(hosts: Hosts, crowds: Sequence[Crowd], most: int) -> AsyncIterator[tuple[Troop, int | None]]:
    """Start all generators, and end them afterwards; yields them ready, and the bytes they weigh without any stream.

    `most` is how many clients there are at once. What they weigh is not known of other hosts. Raises `GeneratorError`.
    """
    async with AsyncExitStack() as exits:
        generators = await (_elsewhere if hosts.agents else _here)(hosts, most, exits)
        troop = Troop(generators, crowds)
        readies = await troop.ready(most)
        if hosts.agents:
            await troop.compare_clocks()
        yield troop, None if hosts.agents else sum(resident(ready.pid) for ready in readies)


async def _here(hosts: Hosts, most: int, exits: AsyncExitStack) -> list[Generator]:
    generators: list[Generator] = []
    for number in range(hosts.processes or _enough(most, file_limit(), "this host")):
        generator = await LocalGenerator.start(number, hosts.command)
        generators.append(generator)
        exits.push_async_callback(generator.close)
    return generators


async def _elsewhere(hosts: Hosts, most: int, exits: AsyncExitStack) -> list[Generator]:
    """Start as many on each host as its cores, and more where they could not hold their part."""
    found: list[RemoteHost] = []
    for address in hosts.agents:
        host = await RemoteHost.connect(address, hosts.token)
        exits.push_async_callback(host.close)
        found.append(host)
    share = math.ceil(most / len(found))
    return [
        generator
        for host in found
        for generator in host.enlist(hosts.processes or max(_enough(share, host.files, host.address), host.cores))
    ]


def _enough(most: int, files: int, host: str) -> int:
    """Return how many processes a host takes for `most` clients; raises `GeneratorError` for absurdly many."""
    if files <= RESERVE:
        raise GeneratorError(
            f"a process of {host} may have only {files:,} files open, and a generator needs {RESERVE} for itself: "
            "raise the limit (ulimit -n)"
        )
    if (processes := processes_for(most, files)) > MOST_PROCESSES:
        raise GeneratorError(
            f"{most:,} clients take {processes} processes of {host}, where each may have {files:,} files open, and "
            f"{MOST_PROCESSES} is the most: raise the limit (ulimit -n), or spread them over more hosts (--agent)"
        )
    return processes
