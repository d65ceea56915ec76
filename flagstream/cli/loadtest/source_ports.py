"""Whether this host has as many ports to connect from as a run has clients."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from loadtest.dividing import crowds
from loadtest.scenario.schema import Scenario
from loadtest.targets import PreflightError, Url

__all__ = ["check_ports"]

RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""First and last port that connections get (Linux, ip(7))."""


async def check_ports(scenario: Scenario, urls: Mapping[str, str]) -> None:
    """See that the clients of each of `urls` (by ``origin`` and ``edge``) have a port each; raises PreflightError.

    A kernel that finds none looks through all of them for each connection: a run would stand still instead of failing.
    """
    ports = _ports()
    wanted: Counter[int] = Counter()
    for crowd in crowds(scenario, list(urls)):
        wanted[crowd.target] += crowd.count
    for (name, url), clients in ((list(urls.items())[target], clients) for target, clients in wanted.items()):
        if ports is not None and clients > ports and not await _has_many_sources(Url.read(url)):
            raise PreflightError(
                f"{clients:,} clients of the {name} take a port each, and this host has {ports:,} towards {url}: "
                "spread them over hosts (--agent), or widen net.ipv4.ip_local_port_range"
            )


def _ports() -> int | None:
    try:
        first, last = map(int, RANGE.read_text().split())
    except (OSError, ValueError):  # the system has none, or none that we know of
        return None
    return last - first + 1


async def _has_many_sources(url: Url) -> bool:
    """Say whether the swarm reaches a server from many addresses, as it does over IPv4's loopback."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError:  # which is said by who connects
        return True
    addresses = [address[0] for family, _, _, _, address in found if family is socket.AF_INET]
    return any(ipaddress.ip_address(address).is_loopback for address in addresses[:1])
