"""One stream as the swarm has it: a bare descriptor, and no more state than tells one piece from the next."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING, Final

from loadtest.models import Loss
from loadtest.swarm.body import END, HEARTBEAT, INVALID, RETRY, Body, BodyError
from loadtest.swarm.loop import READ, WRITE

if TYPE_CHECKING:
    from loadtest.swarm.client import Client

__all__ = ["Head", "Stream"]

CONNECTING, ASKED, LIVE, KEPT, CLOSED = range(5)

PIECE: Final = 4096
LONGEST_HEAD: Final = 65_536
HEAD_END: Final = b"\r\n\r\n"
AT_ONCE_GONE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets."""

_SLOW_BUFFER: Final = 2048
_SLOW_SEGMENT: Final = 1448
_OK: Final = 200

_read, _write = os.read, os.write


class Head:
    """What a response's head says that matters here; times are in seconds, 0 where it does not say."""

    __slots__ = ("_text", "chunked", "closes", "is_stream", "status")

    def __init__(self, text: bytes) -> None:
        self._text = text = text.lower()
        try:
            self.status = int(text[9:12])
        except ValueError:
            self.status = 0
        self.chunked = b"\r\ntransfer-encoding: chunked" in text
        self.closes = b"\r\nconnection: close" in text or not text.startswith(b"http/1.1")
        self.is_stream = self.status == _OK and b"\r\ncontent-type: text/event-stream" in text

    def text(self, name: bytes) -> str:
        """Return a header's value in lower case, by its lower-case name; empty where there is none."""
        start = self._text.find(b"\r\n" + name + b":")
        if start < 0:
            return ""
        start += len(name) + 3
        end = self._text.find(b"\r\n", start)
        return str(self._text[start : end if end >= 0 else None], "latin-1").strip()

    def seconds(self, name: bytes) -> float:
        """Return a header that is a number, 0 where it is none."""
        try:
            seconds = float(self.text(name))
        except ValueError:
            return 0.0
        return seconds if 0 <= seconds < math.inf else 0.0


class Stream:
    """A connection on which `client` asks for its stream; plain TCP, see `loadtest.swarm.tls` for the other.

    `told` is the newest version that this stream has told of; `moment` when it was asked for, then when it went live.
    """

    __slots__ = (
        "_again",
        "_body",
        "_closes",
        "_rest",
        "_state",
        "client",
        "descriptor",
        "given_up",
        "heard",
        "moment",
        "told",
    )

    def __init__(self, client: Client) -> None:
        self.client: Client | None = client
        self.descriptor = -1
        self.told = 0
        self.moment = self.heard = 0.0
        self.given_up = math.inf
        """When it has gone on for too long beyond its announced life."""
        self._state = CLOSED
        self._body: Body | None = None
        self._rest = b""
        self._closes = True
        self._again = False

    @property
    def is_connecting(self) -> bool:
        """Tell whether there is no connection yet."""
        return self._state is CONNECTING

    def connect(self, now: float) -> None:
        """Connect and ask; raises OSError if it could not even begin."""
        client = self._owner
        slow = client.crew.group.slow
        sources = client.crew.target.sources
        made = sources.socket() if slow is None else sources.socket(receive_buffer=_SLOW_BUFFER, segment=_SLOW_SEGMENT)
        client.crew.tally.connections += 1
        self.moment = self.heard = now
        self._state = CONNECTING
        self._begin(made)

    def _begin(self, made: socket.socket) -> None:
        self.descriptor = made.detach()
        try:  # over loopback the connection is often there already
            _write(self.descriptor, self._owner.cell.stream)
        except BlockingIOError:
            self._owner.crew.loop.watch(self.descriptor, self, WRITE)
        except OSError as error:
            self._broken(error)
        else:
            self._state = ASKED
            self._owner.crew.loop.watch(self.descriptor, self, READ)

    def ask(self, now: float) -> bool:
        """Ask again on a connection that was kept; return False if it is gone."""
        self._again = True
        self.told = 0
        self.moment = self.heard = now
        self.given_up = math.inf
        self._body = None
        try:
            self._send(self._owner.cell.stream)
        except OSError:
            return False
        self._state = ASKED
        return True

    def _send(self, data: bytes) -> None:
        _write(self.descriptor, data)

    def _receive(self, most: int) -> bytes:
        return _read(self.descriptor, most)

    def handle(self, mask: int) -> None:
        """Take that something can be read, or, while connecting, that something can be written."""
        del mask  # whatever it says, trying tells more
        loop = self._owner.crew.loop
        if self._state is not LIVE:
            loop.catch_up()
            if self._state is CONNECTING:
                self._connected()
                return
        try:
            data = _read(self.descriptor, PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            loop.catch_up()
            if self.client is not None:  # what was put aside may have ended it
                self._broken(error)
            return
        if data and self._state is LIVE:
            loop.put_aside(self, data)
            return
        loop.catch_up()
        self.take(data, monotonic())

    def _connected(self) -> None:
        try:
            _write(self.descriptor, self._owner.cell.stream)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        self._state = ASKED
        self._owner.crew.loop.change(self.descriptor, READ)

    def take(self, data: bytes, moment: float) -> None:
        """Take a piece of the answer that was read at `moment`; an empty one is the end of the connection."""
        client = self.client
        if client is None:
            return
        if self._state is LIVE:
            now = self.heard = moment
            crew = client.crew
            if self._body is None and data:
                meaning = crew.known.get(data)
                if meaning is None:
                    self._read_anew(data, now)
                elif meaning.__class__ is int and meaning >= 0:
                    if meaning:
                        client.take(self, meaning, now)
                    else:
                        crew.tally.heartbeats += 1
                else:
                    self._mean(meaning, now)
                crew.tally.bytes += len(data)
            else:
                self._go_on(data, now)
        elif self._state is ASKED:
            self._take_head(data)
        elif self._state is KEPT:  # closed by the server, or it said something that nobody asked for
            self._forgotten(client)

    def _read_anew(self, data: bytes, now: float) -> None:
        """Read a piece that nobody has seen before."""
        try:
            meaning, self._body = self._owner.crew.meanings.read(data)
        except BodyError as error:
            self._break_off(error, now)
            return
        self._mean(meaning, now)

    def _go_on(self, data: bytes, now: float) -> None:
        """Go on with a piece where something is unfinished, or with the end of the connection."""
        crew = self._owner.crew
        body = self._body
        if not data:
            if body is None or body.chunked:
                self._lose(Loss.CUT, "cut off without an end")
            else:
                self._end()
            return
        assert body is not None, "what is not empty and not unfinished is read anew"
        crew.tally.bytes += len(data)
        try:
            found, finished = body.feed(data)
        except BodyError as error:
            self._break_off(error, now)
            return
        if finished:
            self._body = None
        self._mean(found, now)

    def _break_off(self, error: BodyError, now: float) -> None:
        """Take what was whole, and lose the stream unless that has ended it."""
        self._mean(error.found, now)
        if self._state is LIVE:
            self._lose(Loss.CUT, str(error))

    def _mean(self, meaning: int | list[int], now: float) -> None:
        """Do what the bytes mean, one after the other, as long as this stream is wanted."""
        for each in meaning if isinstance(meaning, list) else (meaning,):
            client = self.client
            if client is None or self._state is not LIVE:
                return
            tally = client.crew.tally
            if each > 0:
                client.take(self, each, now)
            elif each == HEARTBEAT:
                tally.heartbeats += 1
            elif each == END:
                self._end()
            elif each == INVALID:
                tally.invalid += 1
            else:
                client.retry = (RETRY - each) / 1000

    def _take_head(self, data: bytes) -> None:
        client = self._owner
        if not data:
            if self._again and not self._rest:  # a kept connection that closed as we asked (RFC 9112, 9.3.1)
                self.close()
                client.reopen(self)
                return
            self._lose(Loss.REFUSED, "closed without an answer")
            return
        text = self._rest + data if self._rest else data
        end = text.find(HEAD_END)
        if end < 0:
            self._rest = text
            if len(text) > LONGEST_HEAD:
                self._lose(Loss.STATUS, "an answer without an end to its head")
            return
        self._rest = b""
        head = Head(text[: end + 2])
        if not head.is_stream:
            words = f"status {head.status}" if head.status != _OK else "an answer that is not an event stream"
            client.retry_after = head.seconds(b"retry-after")
            self._lose(Loss.STATUS, words if head.status else "an answer that is not HTTP")
            return
        self._state = LIVE
        self._closes = head.closes
        self._body = None if head.chunked else Body(chunked=False)
        now = monotonic()
        asked, self.moment = self.moment, now
        client.went_live(self, head, asked, now)
        rest = text[end + 4 :]
        slow = client.crew.group.slow
        if slow is not None:
            client.crew.loop.change(self.descriptor, 0)
            if slow.reads_every:
                client.crew.loop.at(now + slow.reads_every, self)
        if rest:
            self.take(rest, now)

    def fire(self, kind: int, when: float, now: float) -> None:
        """Read a little, as a slow reader."""
        del kind, when
        client = self.client
        if client is None or self._state is not LIVE:
            return
        slow = client.crew.group.slow
        assert slow is not None, "only slow readers are timed"
        client.crew.loop.at(now + slow.reads_every, self)
        with contextlib.suppress(BlockingIOError):
            try:
                self.take(self._receive(slow.bytes), now)
            except BlockingIOError:
                raise
            except OSError as error:
                self._broken(error)

    def _end(self) -> None:
        """Take the clean end of the body."""
        client = self._owner
        kept = self._body is None and not self._closes and client.crew.group.model.keeps_connection
        if kept and client.crew.group.slow is None:
            self._state = KEPT
        else:
            self.close()
        client.lost(self, Loss.CLEAN, "", kept=self._state is KEPT)

    def _broken(self, error: OSError) -> None:
        client = self._owner
        if self._again and self._state is ASKED and not self._rest:
            self.close()
            client.reopen(self)
            return
        if self._state is KEPT:
            self._forgotten(client)
            return
        words = {
            ConnectionRefusedError: "connection refused",
            ConnectionResetError: "connection reset",
            BrokenPipeError: "connection reset",
            TimeoutError: "connection timed out",
        }.get(type(error)) or (error.strerror or str(error)).lower()
        self._lose(Loss.CUT if self._state is LIVE else Loss.REFUSED, words)

    def _forgotten(self, client: Client) -> None:
        if client.kept is self:
            client.kept = None
        self.close()

    def _lose(self, loss: Loss, words: str) -> None:
        client = self._owner
        self.close()
        client.lost(self, loss, words)

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, with `reset` as if the network had failed; the client is not told."""
        if self._state is CLOSED:
            return
        self._state = CLOSED
        loop = self._owner.crew.loop
        loop.forget(self.descriptor)
        descriptor, self.descriptor = self.descriptor, -1
        self._close(descriptor, reset=reset)
        self.client = None

    def _close(self, descriptor: int, *, reset: bool) -> None:
        if not reset:
            os.close(descriptor)
            return
        with socket.socket(fileno=descriptor) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE_GONE)

    @property
    def _owner(self) -> Client:
        client = self.client
        assert client is not None, "closed streams are not used again"
        return client
