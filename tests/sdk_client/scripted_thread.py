"""The scripted server on a loop in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.sdk_client.scripted import KEY, Script, ScriptedServer


class ServerThread:
    """A `ScriptedServer` elsewhere; what touches it is done on its loop."""

    def __init__(self, server: ScriptedServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    @property
    def arguments(self) -> dict[str, Any]:
        return {"environment_key": KEY, "api_url": self.server.url}

    def announce(self, version: int, **features: Any) -> None:
        self._loop.call_soon_threadsafe(lambda: self.server.announce(version, **features))

    def await_connections(self, number: int) -> None:
        """Wait until so many connections are open."""
        until(lambda: len(self.server._peers) == number)


@contextmanager
def served(scripts: list[Script] | None = None, **settings: Any) -> Iterator[ServerThread]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted server")
    thread.start()
    server = ScriptedServer(scripts or [], **settings)
    try:
        asyncio.run_coroutine_threadsafe(server.listen(), loop).result(10)
        try:
            yield ServerThread(server, loop)
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.005)
