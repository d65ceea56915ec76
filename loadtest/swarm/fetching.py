"""Fetching flags: what clients do once a stream has told them of something new, over connections that are kept.

Apps have a connection each for it; here a bounded number of them is shared, which costs the server a little less. A
fetch is counted from the moment that its client wanted it, so waiting for a connection is in its time.
"""

from __future__ import annotations

import os
import ssl
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from loadtest.swarm.crew import Place, Run
from loadtest.swarm.loop import READ, WRITE
from loadtest.swarm.sources import GENERATOR_ERRORS
from loadtest.swarm.stream import HEAD_END, Head
from sdk_client.versions import MAX_VERSION, decimal_seconds

if TYPE_CHECKING:
    from loadtest.swarm.holder import Holder

__all__ = ["Fetcher"]

PIECE: Final = 65_536
LAST_CHUNK: Final = b"0\r\n\r\n"
NO_ROOM_WAIT: Final = 0.25
_OK: Final = 200

Job = tuple["Holder", int, float]
"""Who wants which version (0: any), since when."""


class Fetcher:
    """Fetches for the clients of one target, over at most `connections`; an answer takes `timeout` seconds at most."""

    def __init__(self, run: Run, place: Place, connections: int, timeout: float) -> None:
        self.run = run
        self.place = place
        self.timeout = timeout
        self._most = connections
        self._open = 0
        self._idle: list[_Connection] = []
        self._jobs: deque[Job] = deque()

    def ask(self, client: Holder, version: int, now: float) -> None:
        """Fetch for `client`, which is told by its `fetched`."""
        self._jobs.append((client, version, now))
        self._next()

    def _next(self) -> None:
        while self._jobs:
            if self._idle:
                self._idle.pop().ask(self._jobs.popleft())
            elif self._open < self._most and self._connect():
                continue
            else:
                return

    def _connect(self) -> bool:
        try:
            connection = (_Connection if self.place.tls is None else _TlsConnection)(self)
        except OSError as error:
            words = GENERATOR_ERRORS.get(error.errno or 0)
            if words is None:
                self.failed(self._jobs.popleft(), (error.strerror or str(error)).lower())
                return True
            self.run.error(words)
            if not self._open:  # nobody is there who would take the jobs when it is done
                self.run.loop.at(monotonic() + NO_ROOM_WAIT, self)
            return False
        self._open += 1
        connection.ask(self._jobs.popleft())
        return True

    def fire(self, kind: int, when: float, now: float) -> None:
        """Try again to get a connection."""
        del kind, when, now
        self._next()

    def done(self, job: Job, version: int) -> None:
        """Take that a job is done."""
        client, _, asked = job
        client.fetched(version, asked, monotonic())

    def failed(self, job: Job, words: str) -> None:
        """Take that a job has failed."""
        client, _, asked = job
        client.crew.tally.error(f"fetch: {words}")
        client.fetched(None, asked, monotonic())

    def is_idle(self, connection: _Connection) -> None:
        """Take a connection back."""
        self._idle.append(connection)
        self._next()

    def is_gone(self, connection: _Connection) -> None:
        """Take that a connection is closed."""
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        self._next()


class _Connection:
    """One connection, with at most one request on it."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._socket = fetcher.place.sources.socket()
        self._descriptor = self._socket.fileno()
        self._job: Job | None = None
        self._request = b""
        self._answer = b""
        self._used = False
        self._asked = 0.0
        fetcher.run.loop.watch(self._descriptor, self, WRITE)
        self._connecting = True

    def ask(self, job: Job) -> None:
        """Send the request of a job."""
        client, version, _ = job
        cell = client.cell
        query = b"?v=%d" % version if version and client.crew.model.fetches_version else b""
        self._job = job
        self._asked = monotonic()
        self._request = b"GET " + cell.document + query + cell.headers
        self._fetcher.run.loop.at(self._asked + self._fetcher.timeout, self)
        if not self._connecting:
            self._send()

    def fire(self, kind: int, when: float, now: float) -> None:
        """Give up what is not answered in time."""
        del kind, when
        if self._job is not None and now >= self._asked + self._fetcher.timeout:
            self._fail("no answer in time")

    def handle(self, mask: int) -> None:
        """Take that the connection is there, or has something to say."""
        del mask
        try:
            if self._connecting:
                self._connected()
                return
            data = self._read()
        except BlockingIOError:
            return
        except OSError as error:
            self._broken((error.strerror or str(error)).lower())
            return
        if data is None:
            return
        if not data:
            self._broken("closed without an answer")
            return
        if self._job is None:
            self._close()
            return
        self._answer += data
        self._look()

    def _connected(self) -> None:
        self._write(self._request)
        self._connecting = False
        self._fetcher.run.loop.change(self._descriptor, READ)

    def _send(self) -> None:
        try:
            self._write(self._request)
        except OSError as error:
            self._broken((error.strerror or str(error)).lower())

    def _write(self, data: bytes) -> None:
        os.write(self._descriptor, data)

    def _read(self) -> bytes | None:
        return os.read(self._descriptor, PIECE)

    def _broken(self, words: str) -> None:
        """Ask again on a new connection if this was a kept one that closed as we asked (RFC 9112, 9.3.1)."""
        job, self._job = self._job, None
        again = self._used and not self._answer
        self._close()
        if job is None:
            return
        if again:
            self._fetcher.ask(*job)
        else:
            self._fetcher.failed(job, words)

    def _fail(self, words: str) -> None:
        job, self._job = self._job, None
        self._close()
        if job is not None:
            self._fetcher.failed(job, words)

    def _look(self) -> None:
        """Look whether the answer is whole."""
        end = self._answer.find(HEAD_END)
        if end < 0:
            return
        head = Head(self._answer[: end + 2])
        if head.chunked:
            whole = self._answer.endswith(LAST_CHUNK)
        else:
            whole = len(self._answer) >= end + 4 + int(head.seconds(b"content-length"))
        if not whole:
            return
        job, self._job = self._job, None
        self._answer, self._used = b"", True
        assert job is not None, "an answer without a question closes the connection"
        if head.closes:
            self._close()
        else:
            self._fetcher.is_idle(self)
        if head.status == _OK:
            self._fetcher.done(job, _version(head))
        else:
            self._fetcher.failed(job, f"status {head.status}")

    def _close(self) -> None:
        self._fetcher.run.loop.forget(self._descriptor)
        self._socket.close()
        self._fetcher.is_gone(self)


class _TlsConnection(_Connection):
    """The same over TLS; the handshake may block for a moment, for these connections are few and kept."""

    def _connected(self) -> None:
        loop, place = self._fetcher.run.loop, self._fetcher.place
        assert place.tls is not None, "this connection is for targets with TLS"
        loop.forget(self._descriptor)
        self._socket.settimeout(self._fetcher.timeout)
        self._wrapped = place.tls.wrap_socket(self._socket, server_hostname=place.target.host)
        self._wrapped.settimeout(0)
        self._socket, self._descriptor = self._wrapped, self._wrapped.fileno()
        self._wrapped.send(self._request)
        self._connecting = False
        loop.watch(self._descriptor, self, READ)

    def _write(self, data: bytes) -> None:
        self._wrapped.send(data)

    def _read(self) -> bytes | None:
        pieces = []
        try:
            while piece := self._wrapped.read(PIECE):
                pieces.append(piece)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(pieces) or None
        return b"".join(pieces)


def _version(head: Head) -> int:
    """Return the version that an answer carries, 0 where it says none."""
    exact = int(head.seconds(b"x-flagstream-version"))
    if 0 < exact < MAX_VERSION:
        return exact
    return decimal_seconds(head.text(b"x-flagsmith-document-updated-at"))
