"""Fetching flags: what clients do once a stream has told them of something new, over connections that are kept.

Apps have a connection each for it; here a bounded number of them is shared, which costs the server a little less. A
fetch is counted from the moment that its client wanted it, so waiting for a connection is in its time.
"""

from __future__ import annotations

import os
import socket
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
_WITHOUT_BODY: Final = (204, 304)

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
        self._handing = self._waiting = False

    def ask(self, client: Holder, version: int, now: float) -> None:
        """Fetch for `client`, which is told by its `fetched`."""
        self._jobs.append((client, version, now))
        self._next()

    def _next(self) -> None:
        if self._handing:  # a job that fails as it is handed out would lead here again, once for each that waits
            return
        self._handing = True
        try:
            while self._jobs:
                if self._idle:
                    self._idle.pop().ask(self._jobs.popleft())
                elif self._waiting or self._open >= self._most or not self._connect():
                    return
        finally:
            self._handing = False

    def _connect(self) -> bool:
        try:
            connection = (_Connection if self.place.tls is None else _TlsConnection)(self)
        except OSError as error:
            words = GENERATOR_ERRORS.get(error.errno or 0)
            if words is None:
                self.failed(self._jobs.popleft(), (error.strerror or str(error)).lower())
                return True
            self.run.error(words)
            self._waiting = True
            self.run.loop.at(monotonic() + NO_ROOM_WAIT, self)
            return False
        self._open += 1
        connection.ask(self._jobs.popleft())
        return True

    def fire(self, kind: int, when: float, now: float) -> None:
        """Try again to get a connection."""
        del kind, when, now
        self._waiting = False
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
        self._answer = bytearray()
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
            self._broken(_words(error))
            return
        if data is None:
            return
        if self._job is None:
            self._close()
            return
        self._answer += data
        if not self._look(ended=not data) and not data:
            self._broken("cut off without an end" if self._answer else "closed without an answer")

    def _connected(self) -> None:
        self._write(self._request)
        self._connecting = False
        self._fetcher.run.loop.change(self._descriptor, READ)

    def _send(self) -> None:
        try:
            self._write(self._request)
        except OSError as error:
            self._broken(_words(error))

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

    def _look(self, *, ended: bool) -> bool:
        """Take the answer and return True if it is whole; `ended`: nothing more comes."""
        end = self._answer.find(HEAD_END)
        if end < 0:
            return False
        head = Head(bytes(self._answer[: end + 2]))
        if not _is_whole(head, self._answer, end + len(HEAD_END), ended=ended):
            return False
        job, self._job = self._job, None
        self._answer, self._used = bytearray(), True
        assert job is not None, "an answer without a question closes the connection"
        if head.closes or ended:
            self._close()
        else:
            self._fetcher.is_idle(self)
        if head.status == _OK:
            self._fetcher.done(job, _version(head))
        else:
            self._fetcher.failed(job, f"status {head.status}")
        return True

    def _close(self) -> None:
        self._fetcher.run.loop.forget(self._descriptor)
        self._socket.close()
        self._fetcher.is_gone(self)


class _TlsConnection(_Connection):
    """The same over TLS; the handshake counts as connecting."""

    def _connected(self) -> None:
        loop = self._fetcher.run.loop
        if not isinstance(self._socket, ssl.SSLSocket):
            self._wrap()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            loop.change(self._descriptor, READ)
        except ssl.SSLWantWriteError:
            loop.change(self._descriptor, WRITE)
        else:
            super()._connected()

    def _wrap(self) -> None:
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
        loop, place = self._fetcher.run.loop, self._fetcher.place
        assert place.tls is not None, "this connection is for targets with TLS"
        loop.forget(self._descriptor)
        self._socket = place.tls.wrap_socket(
            self._socket, server_hostname=place.target.host, do_handshake_on_connect=False
        )
        self._descriptor = self._socket.fileno()
        loop.watch(self._descriptor, self, READ)

    @property
    def _tls(self) -> ssl.SSLSocket:
        assert isinstance(self._socket, ssl.SSLSocket), "nothing is said before the handshake"
        return self._socket

    def _write(self, data: bytes) -> None:
        self._tls.send(data)

    def _read(self) -> bytes | None:
        pieces = []
        try:
            while piece := self._tls.read(PIECE):
                pieces.append(piece)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(pieces) or None
        return b"".join(pieces)


def _is_whole(head: Head, answer: bytearray, start: int, *, ended: bool) -> bool:
    """Tell whether an answer, whose body begins at `start`, is all there (RFC 9112, 6.3)."""
    if head.chunked:
        return answer.endswith(b"\r\n" + LAST_CHUNK, start) or answer[start:] == LAST_CHUNK
    if head.text(b"content-length"):
        return len(answer) >= start + int(head.seconds(b"content-length"))
    return ended or head.status in _WITHOUT_BODY


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
    return (error.strerror or str(error)).lower()


def _version(head: Head) -> int:
    """Return the version that an answer carries, 0 where it says none."""
    exact = int(head.seconds(b"x-flagstream-version"))
    if 0 < exact < MAX_VERSION:
        return exact
    return decimal_seconds(head.text(b"x-flagsmith-document-updated-at"))
