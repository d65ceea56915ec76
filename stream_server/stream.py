"""A stream after the hand-off: what is left of a connection that only listens.

The HTTP side has answered the request and gone, with its parser, scope, headers and task. What stays is one object of
a few fields that the hub offers frames to and the wheel calls when a heartbeat or the end is due. `Stream` decides what
is sent and when; `DescriptorStream` does so on a bare descriptor, `TransportStream` on a transport of the event loop.

A client that does not read costs the rest of one frame, a reference to the newest one, and what the kernel buffers.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from stream_server.drain import Drain
from stream_server.frames import HEARTBEAT, HEARTBEAT_CHUNK, LAST_CHUNK, Frame
from stream_server.hub import Hub
from stream_server.metrics import Metrics
from stream_server.wheel import Wheel

__all__ = ["SEND_BUFFER", "STUCK", "Course", "Stream"]

SEND_BUFFER: Final = 16 * 1024
"""Bytes that the kernel is asked to buffer for a client that does not read; Linux doubles it (socket(7))."""

STUCK: Final = 5.0
"""Seconds after its end at which a stream whose client does not read is cut."""

PATIENCE: Final = 30.0
"""Seconds without a byte taken after which the client is given up."""

LOOK_AGAIN: Final = 1.0
"""Seconds until the second heartbeat to a client that has ended its half of the connection: one that only does so
answers nothing, one that has gone answers with a reset."""

LEFT: Final = 1 << 62
"""The version of a stream that has left: nothing is newer."""


class Course:
    """What the streams of a process have in common; `heartbeat` in seconds."""

    __slots__ = ("drain", "heartbeat", "hub", "metrics", "wheel")

    def __init__(self, hub: Hub, wheel: Wheel, metrics: Metrics, drain: Drain, heartbeat: float) -> None:
        self.hub = hub
        self.wheel = wheel
        self.metrics = metrics
        self.drain = drain
        self.heartbeat = heartbeat


class Stream(ABC):
    """A subscriber of the hub and a member of the wheel, from before its first byte to after its last.

    It begins paused: frames offered before the hand-off are kept, the newest of them. `on_end` is called once when it
    has left the hub.
    """

    __slots__ = (
        "_course",
        "_ended",
        "_ends_at",
        "_frame",
        "_framed",
        "_key",
        "_on_end",
        "_paused_since",
        "_version",
        "tick",
    )

    def __init__(self, course: Course, key: str, on_end: Callable[[], None] | None) -> None:
        self._course = course
        self._key = key
        self._on_end = on_end
        self._version = 0  # newest offered
        self._frame: Frame | None = None  # newest unsent
        self._framed = True  # chunks, until the last one is sent; without them HTTP/1.0
        self._ended = ""  # why, from then on
        self._ends_at = 0.0
        self._paused_since = time.monotonic()  # 0 while the client takes what it is sent
        self.tick = 0

    def subscribe(self) -> Frame | None:
        """Enter the hub; return the newest version for the first block."""
        newest = self._course.hub.subscribe(self._key, self)
        self._key = self._course.hub.canonical(self._key)
        if newest is not None and newest.version > self._version:
            self._version = newest.version
        return newest

    def start_clock(self, seconds: float) -> None:
        """Let the lifetime of `seconds` and the heartbeats begin: its head is being written."""
        now = time.monotonic()
        self._ends_at = now + seconds
        self._course.wheel.add(self, min(now + self._course.heartbeat, self._ends_at))

    def offer(self, frame: Frame) -> None:
        """Send `frame`, or keep it in place of an older one."""
        if frame.version <= self._version:
            return
        self._version = frame.version
        if self._paused_since:
            if self._frame is not None:
                self._course.metrics.conflated.inc()
            if not self._ended:
                self._frame = frame
        elif not self._send(frame.chunk if self._framed else frame.block):
            self._frame = frame

    def beat(self) -> None:
        """Send a heartbeat, unless something older waits to be read."""
        if not self._paused_since and not self._ended:
            self._send(HEARTBEAT_CHUNK if self._framed else HEARTBEAT)

    def due(self, now: float) -> float | None:
        """Send a heartbeat; end at the end of the lifetime; cut when the client has not read for too long."""
        if self._paused_since and (now >= self._ends_at + STUCK or now >= self._paused_since + PATIENCE):
            self._cut("stuck")
            return None
        if now >= self._ends_at:
            if not self._ended:
                self._end("lifetime")
            return None if self._version == LEFT else self._ends_at + STUCK
        self.beat()
        return None if self._version == LEFT else min(now + self._course.heartbeat, self._ends_at)

    def end(self, *, clean: bool) -> None:
        """End now: with what is unsent and a final chunk, or cut so that no cache takes it for complete."""
        if self._version == LEFT:
            return
        if not clean:
            self._cut("drain")
        elif not self._ended:
            self._end("drain")

    def leave(self, reason: str) -> None:
        """Leave the hub and the wheel, once; the connection is the caller's."""
        if self._version == LEFT:
            return
        self._version = LEFT
        self._frame = None
        course = self._course
        course.hub.unsubscribe(self._key, self)
        course.wheel.discard(self)
        course.metrics.streams_ended.labels(reason).inc()
        if self._on_end is not None:
            self._on_end()

    def _look(self) -> None:
        """Send something to a client that has nothing more to say: one that has gone answers with a reset."""
        self.beat()
        if self._version != LEFT:
            wheel = self._course.wheel
            wheel.discard(self)
            wheel.add(self, min(time.monotonic() + LOOK_AGAIN, self._ends_at))

    def _end(self, reason: str) -> None:
        self._ended = reason
        if not self._paused_since:
            self._finish()

    def _go_on(self) -> None:
        """Send what is due now that the client takes something again."""
        self._paused_since = 0.0
        frame, self._frame = self._frame, None
        if frame is not None:
            if self._course.hub.withholds(self._key):
                self._version = frame.version - 1
            elif not self._send(frame.chunk if self._framed else frame.block):
                self._frame = frame
        if self._ended and not self._paused_since:
            self._finish()

    def _finish(self) -> None:
        """Send the final chunk; leave when it is out."""
        if self._framed and self._version != LEFT:
            self._framed = not self._send(LAST_CHUNK)
        if not self._paused_since and self._version != LEFT:
            self.leave(self._ended)
            self._part()

    def _pause(self) -> None:
        self._paused_since = time.monotonic()

    @abstractmethod
    def _send(self, data: bytes) -> bool:
        """Send `data`; False when nothing of it was taken. What is begun is finished; then `_go_on` is called."""

    @abstractmethod
    def _part(self) -> None:
        """Let the connection go: back to HTTP if it is kept alive, else closed."""

    @abstractmethod
    def _cut(self, reason: str) -> None:
        """Leave for `reason` and drop the connection without a final chunk."""
