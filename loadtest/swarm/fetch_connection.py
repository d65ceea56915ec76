"""One connection for fetching flags, with at most one request on it at a time."""

from __future__ import annotations

import os
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Final

from loadtest.swarm.answer import Answer
from loadtest.swarm.chunks import ChunkError
from loadtest.swarm.handshake import failure
from loadtest.swarm.loop import READ, WRITE
from sdk_client.versions import decimal_seconds, digits

if TYPE_CHECKING:
    from loadtest.swarm.fetching import Fetcher
    from loadtest.swarm.head import Head
    from loadtest.swarm.holder import Holder

__all__ = ["FetchConnection", "Job"]

PIECE: Final = 65_536
_OK: Final = 200

Job = tuple["Holder", int, float]
"""Who wants which version (0: any), since when."""


class FetchConnection:
    """One of a fetcher's connections; what it reads is looked at in its turn, after the events that came before."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._socket = fetcher.place.sources.socket()
        self._descriptor = self._socket.fileno()
        self._job: Job | None = None
        self._request = b""
        self._answer = Answer()
        self._used = False
        self._closed = False
        self._asked = 0.0
        fetcher.run.loop.watch(self._descriptor, self, WRITE)
        self._connecting = True

    def ask(self, job: Job) -> None:
        """Send the request of a job."""
        client, version, wanted = job
        cell = client.cell
        query = b"?v=%d" % version if version and client.crew.model.fetches_version else b""
        self._job = job
        self._asked = monotonic()
        client.crew.tally.fetch_queued.record(self._asked - wanted)
        self._request = b"GET " + cell.document + query + cell.headers
        self._fetcher.run.loop.at(self._asked + self._fetcher.timeout, self)
        if not self._connecting:
            self._send()

    def fire(self, kind: int, when: float, now: float) -> None:
        """Give up what is not answered in time."""
        del kind, when
        if self._job is not None and now >= self._asked + self._fetcher.timeout:
            self._fail("no answer in time", now)

    def handle(self, mask: int) -> None:
        """Take that the connection is there, or has something to say."""
        del mask
        run = self._fetcher.run
        data: bytes | None = None
        failed: OSError | None = None
        begun = run.meter.begin()
        try:
            if self._connecting:
                self._connected()
            else:
                data = self._read()
        except BlockingIOError:
            pass
        except OSError as error:
            failed = error
        run.meter.end_fetching(begun)
        if data:
            run.loop.put_aside(self, data)
        elif failed is not None or data is not None:
            run.loop.catch_up()
            if failed is not None:
                self._broken(_words(failed))
            else:
                self.take(b"", monotonic())

    def take(self, data: bytes, moment: float) -> None:
        """Take a piece of the answer, which was read at `moment`."""
        meter = self._fetcher.run.meter
        begun = meter.begin()
        self._take(data, moment)
        meter.end_fetching(begun)

    def _take(self, data: bytes, moment: float) -> None:
        if self._closed:
            return
        if self._job is None:
            self._close()
            return
        try:
            whole = self._answer.feed(data)
        except ChunkError as error:
            self._fail(str(error), moment)
            return
        if whole:
            self._answered(moment, ended=not data)
        elif not data:
            self._broken("cut off without an end" if self._answer.has_begun else "closed without an answer")

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
        if self._closed:
            return
        job, self._job = self._job, None
        again = self._used and not self._answer.has_begun
        self._close()
        if job is None:
            return
        if again:
            self._fetcher.ask(*job)
        else:
            self._fetcher.failed(job, words, monotonic())

    def _fail(self, words: str, now: float) -> None:
        job, self._job = self._job, None
        self._close()
        if job is not None:
            self._fetcher.failed(job, words, now)

    def _answered(self, moment: float, *, ended: bool) -> None:
        """Take that the answer is whole; `ended`: nothing more comes on this connection."""
        job, self._job = self._job, None
        head = self._answer.head
        assert job is not None, "an answer without a question closes the connection"
        assert head is not None, "an answer is not whole without its head"
        self._answer, self._used = Answer(), True
        job[0].crew.tally.fetch_answered.record(moment - self._asked)
        if head.closes or ended:
            self._close()
        else:
            self._fetcher.is_idle(self)
        if head.status == _OK:
            self._fetcher.done(job, _version(head), moment)
        else:
            self._fetcher.failed(job, f"status {head.status}", moment)

    def _close(self) -> None:
        self._closed = True
        self._fetcher.run.loop.forget(self._descriptor)
        self._socket.close()
        self._fetcher.is_gone(self)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return failure(error)
    return (error.strerror or str(error)).lower()


def _version(head: Head) -> int:
    """Return the version that an answer carries, 0 where it says none."""
    return digits(head.text(b"x-flagstream-version")) or decimal_seconds(head.text(b"x-flagsmith-document-updated-at"))
