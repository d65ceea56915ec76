"""A TCP connection while it speaks HTTP: an asyncio transport on the bare descriptor.

What is written during a turn of the loop goes out in one system call at its end, so that a response's head and body
share a packet. After the response the connection can be released to something that needs no transport.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from stream_server.borrowed import borrowed
from stream_server.poller import READABLE, WRITABLE, Poller

__all__ = ["Home", "Outbox", "Released", "Transport"]

READ_SIZE: Final = 64 * 1024
HIGH_WATER: Final = 64 * 1024


class Outbox:
    """Transports with something to write when this turn of the loop ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: list[Transport] = []

    def put(self, transport: Transport) -> None:
        """Let `transport` write soon."""
        if not self._waiting:
            self.loop.call_soon(self._flush)
        self._waiting.append(transport)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            transport.flush()


class Home(Protocol):
    """Where a transport lives."""

    poller: Poller
    outbox: Outbox
    local: Any
    """(host, port) of the listening socket."""
    resting: dict[Any, None]
    """Connections between a stream and the next request, longest first."""

    def give_back(self, fd: int, held: bytes) -> None:
        """Let HTTP have a connection again after its stream; `held` came behind the stream's request."""


class Released(NamedTuple):
    """A descriptor without its transport, and what was written to it that the kernel did not take so far."""

    fd: int
    unsent: bytes
    home: Home


class Transport(asyncio.Transport):
    """One accepted connection; owns descriptor `fd` and closes it. `peer` is its (host, port), None where unknown.

    `connection_made` and `connection_lost` of the protocol come from the loop, never from inside a call of its own.
    """

    __slots__ = (
        "_buffer",
        "_closing",
        "_eof",
        "_fd",
        "_high",
        "_home",
        "_lost",
        "_low",
        "_paused",
        "_peer",
        "_protocol",
        "_queued",
        "_reading",
        "_watched",
    )

    def __init__(self, fd: int, home: Home, peer: Any) -> None:
        super().__init__()
        self._fd = fd
        self._home = home
        self._peer = peer
        self._protocol: asyncio.Protocol | None = None
        self._buffer = b""
        self._queued = False  # the outbox will call flush
        self._closing = False
        self._lost = False  # connection_lost is called or on its way
        self._eof = False  # write_eof was called
        self._paused = False  # the protocol was told to pause
        self._reading = True
        self._watched = 0
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4

    def start(self, protocol: asyncio.Protocol) -> None:
        """Begin to read for `protocol`; raises OSError, the descriptor closed, where the poller takes no more."""
        try:
            self._home.poller.add(self._fd, self, READABLE)
        except OSError:
            os.close(self._fd)
            raise
        self._watched = READABLE
        self._protocol = protocol
        protocol.connection_made(self)

    def start_again(self, protocol: asyncio.Protocol, held: bytes) -> None:
        """Begin to read on a descriptor that the poller knows already, behind the `held` bytes that came from it."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._reading = not held  # what waits in the kernel would overtake them
        self._watched = READABLE if self._reading else 0
        self._home.poller.replace(self._fd, self, self._watched)
        if held:
            self._home.outbox.loop.call_soon(self._feed, held)

    def _feed(self, held: bytes) -> None:
        if self._protocol is not None and not self._closing:
            self.resume_reading()
            self._protocol.data_received(held)

    def release(self) -> Released | None:
        """Give the descriptor away, in the poller's table still; None when the connection is lost.

        The protocol hears no more of it: its connection has neither ended nor failed.
        """
        self.flush()
        if self._lost or self._closing:
            return None
        self._lost = self._closing = True
        self._protocol = None
        unsent, self._buffer = self._buffer, b""
        return Released(self._fd, unsent, self._home)

    def on_event(self, events: int) -> None:
        """Read, and write what waits."""
        if events & WRITABLE:
            self.flush()
        if events & ~WRITABLE and not self._lost:
            if not self._reading:
                self._fail(ConnectionResetError("the client has gone"))
                return
            self._read()

    def _read(self) -> None:
        protocol = self._protocol
        try:
            data = os.read(self._fd, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if protocol is None:
            return
        if data:
            protocol.data_received(data)
        elif protocol.eof_received():
            self._reading = False
            self._watch()
        else:
            self.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` at the end of this turn, after what waits."""
        if self._lost or not data:
            return
        self._buffer += data
        if not self._queued and not self._watched & WRITABLE:
            self._queued = True
            self._home.outbox.put(self)
        if len(self._buffer) > self._high:
            self.flush()  # a body in many parts would be held twice
            if len(self._buffer) > self._high and not self._paused and self._protocol is not None:
                self._paused = True
                self._protocol.pause_writing()

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        self._queued = False
        if self._lost:
            return
        if self._buffer:
            try:
                sent = os.write(self._fd, self._buffer)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._fail(error)
                return
            self._buffer = self._buffer[sent:]
        if len(self._buffer) <= self._low and self._paused and self._protocol is not None:
            self._paused = False
            self._protocol.resume_writing()
        if not self._buffer:
            if self._eof:
                self._shut_down()
            if self._closing:
                self._lose(None)
                return
        self._watch()

    def _watch(self) -> None:
        """Ask for the events that are of interest now."""
        if self._lost:
            return
        events = (READABLE if self._reading and not self._closing else 0) | (WRITABLE if self._buffer else 0)
        if events != self._watched:
            self._watched = events
            self._home.poller.watch(self._fd, events)

    def close(self) -> None:
        """Close when everything is written; nothing more is read."""
        if self._closing:
            return
        self._closing = True
        if not self._queued and not self._buffer:
            self._lose(None)
        else:
            self._watch()

    def abort(self) -> None:
        """Close now; what waits is dropped."""
        self._closing = True
        self._lose(None)

    def is_closing(self) -> bool:
        """Tell whether it is closing or closed."""
        return self._closing

    def _fail(self, error: OSError) -> None:
        self._closing = True
        self._lose(error)

    def _lose(self, error: OSError | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._buffer = b""
        self._home.poller.forget(self._fd)
        self._home.outbox.loop.call_soon(self._tell, error)

    def _tell(self, error: OSError | None) -> None:
        protocol, self._protocol = self._protocol, None
        os.close(self._fd)
        if protocol is not None:
            protocol.connection_lost(error)

    def pause_reading(self) -> None:
        """Leave what comes to the kernel, whose window closes in time."""
        self._reading = False
        self._watch()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading = True
        self._watch()

    def is_reading(self) -> bool:
        """Tell whether it reads."""
        return self._reading and not self._closing

    def can_write_eof(self) -> bool:
        """Tell that this side can be closed alone."""
        return True

    def write_eof(self) -> None:
        """Close this side when everything is written."""
        self._eof = True
        if not self._queued and not self._buffer:
            self._shut_down()

    def _shut_down(self) -> None:
        self._eof = False
        with suppress(OSError), borrowed(self._fd) as connection:  # the client was faster
            connection.shutdown(socket.SHUT_WR)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have what comes."""
        assert isinstance(protocol, asyncio.Protocol)  # noqa: S101 - there are no buffered protocols here
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the present protocol."""
        assert self._protocol is not None  # noqa: S101 - whoever asks is one
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return `peername` and `sockname`; there is no socket object."""
        known: Mapping[str, Any] = {"peername": self._peer, "sockname": self._home.local}
        return known.get(name, default)

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high mark in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks at which the protocol is told to pause and to go on."""
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low
