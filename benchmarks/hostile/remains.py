"""What a server in this process keeps when its clients have left: it must be nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from structlog.testing import capture_logs
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from benchmarks.hostile.clients import KEY
from stream_server.connection import Connection
from stream_server.descriptor_stream import Resting
from stream_server.stream import Stream
from stream_server.transport import Transport
from tests.stream_server.raw import Running

__all__ = ["complaints_of", "counts", "left_behind"]

SETTLED: Final = 10.0
"""Seconds in which everything must be back where it was after the last client has left."""

KEPT: Final = (Connection, Stream, Resting, Transport, RequestResponseCycle)
"""Objects that a connection is made of; none may outlive it."""


def counts(server: Running) -> dict[str, int]:
    """Return all that must be back where it was when everyone has left."""
    parts, front = server.parts, server.server._front  # noqa: SLF001 - nothing else needs to see it
    found = {
        "streams": parts.hub.open,
        "streams on the key": parts.hub.count(KEY),
        "addresses": len(parts.admission.held),
        "refusals": parts.admission.refused_open,
        "timers": sum(map(len, parts.wheel._ticks.values())),  # noqa: SLF001 - the same
        "connections": len(server.server.server_state.connections),
        "requests": len(server.server.server_state.tasks),
        "sockets": _sockets(),
    }
    if front is not None:
        found |= {
            "descriptors polled": front.poller.watching,
            "resting connections": len(front.resting),
            "handshakes": front.handshakes,
        }
    gc.collect()
    kept = Counter(type(each).__name__ for each in gc.get_objects() if issubclass(type(each), KEPT))
    return found | {f"objects, {name}": count for name, count in kept.items()}


async def left_behind(server: Running, before: dict[str, int]) -> list[str]:
    """Wait until everything is back where it was `before`; return what is not."""
    deadline = time.monotonic() + SETTLED
    while True:
        more = {name: count - before.get(name, 0) for name, count in counts(server).items()}
        left = [f"left behind: {count} {name}" for name, count in more.items() if count > 0]
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.1)


@contextmanager
def complaints_of() -> Iterator[list[str]]:
    """Collect what the server, asyncio and uvicorn complain of."""
    complaints: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: complaints.append(f"logged: {record.getMessage()}")  # type: ignore[method-assign] # all that there is to it
    loggers = [logging.getLogger(name) for name in ("asyncio", "uvicorn", "uvicorn.error", "stream_server")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with capture_logs() as lines:  # the server's own, where nobody has configured logging
            yield complaints
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    complaints += [f"logged: {line}" for line in lines if line["log_level"] in {"warning", "error", "critical"}]


def _sockets() -> int:
    """Count the sockets among the open files of this process: libuv opens a file in reserve whenever it likes."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of this very look
            found += str(link.readlink()).startswith("socket:")
    return found
