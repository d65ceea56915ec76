"""What the files that a process may have open are for: streams, fetches, and what it needs itself."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Final

from loadtest.machine import file_limit
from loadtest.messages import Start

__all__ = ["capacity", "fetch_connections"]

RESERVED: Final = 300
"""Descriptors of a process that are not for streams: fetches, the channel, the interpreter's own."""

FEWEST_FETCHERS: Final = 128
"""Connections for fetching that a process may have however many streams it holds, and all that it has towards a target
on its own host: there an answer has no way to go, more of them would only wait for the same cores, and an edge needs
two files and a thread for each."""


def capacity() -> int:
    """Raise the limit of open files as far as it goes, and return how many streams that lets this process hold."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = file_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files - RESERVED


def fetch_connections(start: Start, files: int, on_loopback: Sequence[bool]) -> list[int]:
    """Return how many connections for fetching each target gets: on other hosts one a client, as far as `files` go.

    Half of the files that no stream needs stay free, for streams that open before the one they replace has closed.
    """
    clients = [0] * len(start.targets)
    for group in start.groups:
        clients[group.target] += group.count
    shares = max(1, sum(1 for count in clients if count))
    if start.fetchers:
        return [max(1, start.fetchers // shares)] * len(clients)
    room = max(FEWEST_FETCHERS, (files - RESERVED - sum(clients)) // 2) // shares
    wanted = [FEWEST_FETCHERS if near else count for count, near in zip(clients, on_loopback, strict=True)]
    return [max(1, min(each, room)) for each in wanted]
