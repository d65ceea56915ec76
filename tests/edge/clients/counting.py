"""A TCP proxy that writes down when its one client asked for what: what an edge sees of that client."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["CountingProxy", "Request"]

REQUEST = re.compile(rb"(GET|HEAD|POST|OPTIONS) (\S+) HTTP/1\.[01]\r\n")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `at` is time.monotonic()."""

    at: float
    method: str
    path: str


class CountingProxy:
    """Passes bytes to `port` and back; a connection refused there is refused here by a reset."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def since(self, moment: float, until: float = float("inf")) -> list[Request]:
        """Return the requests from `moment` on."""
        return [each for each in self.requests if moment <= each.at < until]

    def streams(self, moment: float, until: float = float("inf")) -> list[Request]:
        """Return the requests of streams among them."""
        return [each for each in self.since(moment, until) if each.path.endswith("/stream")]

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._pass, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass(self, client: socket.socket) -> None:
        with client:
            client.settimeout(30)
            try:
                upstream = socket.create_connection(self._to, timeout=30)
            except OSError:
                return
            with upstream:
                try:
                    self._both_ways(client, upstream)
                except OSError:
                    return

    def _both_ways(self, client: socket.socket, upstream: socket.socket) -> None:
        while not self._stopped.is_set():
            for ready in select.select([client, upstream], [], [], 0.1)[0]:
                part = ready.recv(65536)
                if not part:
                    return
                if ready is client:
                    now = time.monotonic()
                    found = REQUEST.findall(part)
                    self.requests += [Request(now, method.decode(), path.decode()) for method, path in found]
                (upstream if ready is client else client).sendall(part)
