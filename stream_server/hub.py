"""From versions to streams: who listens to which environment, how fast, and in whose turn.

The hub knows neither HTTP nor NATS. The feed calls `Hub.dispatch`; whoever holds an open connection subscribes an
object with two methods (`Subscriber`). Everything here runs on one event loop and no table changes across an await.

- **Maximum.** A version that is not newer is nothing.
- **Pace.** The first change of an environment goes out at once; after that one event every `min_interval` seconds, the
  newest. As the oldest stream nears `max_events` the interval stretches, so that no stream is ever ended for its number
  of events and the body that a CDN replays to late joiners stays small.
- **Turns.** A delivery offers its frame to a slice of streams and lets the loop and the other deliveries have a turn,
  so that an environment with twenty streams does not wait for one with a hundred thousand.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from stream_server.frames import Frame
from stream_server.metrics import Metrics

__all__ = ["Hub", "Subscriber"]

SLICE: Final = 256
"""Streams offered a frame before everything else gets a turn; about 10 ms of writes on the portable path."""


class Subscriber(Protocol):
    """What the hub needs of a stream. Neither method may block, await or raise."""

    def offer(self, frame: Frame) -> None:
        """Send `frame`, or keep it in place of an older unsent one; called after the stream has left, too."""

    def end(self, *, clean: bool) -> None:
        """End the stream now: with a final chunk, or cut so that no cache takes it for complete."""


class _Channel:
    """One environment: its newest version and its streams, oldest first, each with the events sent before it came."""

    __slots__ = ("busy", "events", "frame", "pace", "sent", "streams", "version")

    def __init__(self) -> None:
        self.version = 0  # newest known
        self.sent = 0  # newest that a delivery was begun for
        self.events = 0  # deliveries begun, ever
        self.streams: dict[Subscriber, int] = {}
        self.frame: Frame | None = None
        self.pace: asyncio.TimerHandle | None = None
        self.busy = False  # a delivery is under way

    def encoded(self) -> Frame:
        """Return the newest version's frame, made when it is first needed; only where a version is known."""
        if self.frame is None or self.frame.version != self.version:
            self.frame = Frame(self.version)
        return self.frame


class _Delivery:
    """One frame on its way to the streams that a channel had when it began."""

    __slots__ = ("began", "channel", "frame", "position", "streams")

    def __init__(self, channel: _Channel, frame: Frame) -> None:
        self.channel = channel
        self.frame = frame
        self.streams = list(channel.streams)
        self.position = 0
        self.began = time.perf_counter()

    def offer_slice(self) -> bool:
        """Offer to the next streams; True when all have been offered the frame."""
        offered = self.streams[self.position : self.position + SLICE]
        self.position += SLICE
        for stream in offered:
            stream.offer(self.frame)
        return self.position >= len(self.streams)


class Hub:
    """The streams of this process by environment key.

    `newest` looks a key up in the table that the workers of this host share; `lifetime` is the longest that a stream
    lives, in seconds, `min_interval` and `max_events` are the settings of those names.
    """

    def __init__(
        self,
        *,
        newest: Callable[[str], int],
        metrics: Metrics,
        lifetime: float,
        min_interval: float,
        max_events: int,
    ) -> None:
        self._newest = newest
        self._metrics = metrics
        self._lifetime = lifetime
        self._min_interval = min_interval
        self._max_events = max_events
        self._channels: dict[str, _Channel] = {}
        self._deliveries: deque[_Delivery] = deque()
        self._turn_due = False
        self.open = 0
        """Streams open now."""
        self.known = 0
        """Environments with a version."""

    def knows(self, key: str) -> bool:
        """Tell whether any worker of this host knows a version of `key`."""
        channel = self._channels.get(key)
        return (channel is not None and channel.version > 0) or self._newest(key) > 0

    def count(self, key: str) -> int:
        """Return the number of streams open on `key`."""
        channel = self._channels.get(key)
        return 0 if channel is None else len(channel.streams)

    def subscribe(self, key: str, stream: Subscriber) -> Frame | None:
        """Add `stream` and return the newest known version, for its first block; every newer one is offered to it."""
        shared = self._newest(key)
        channel = self._channels.get(key)
        if shared > (0 if channel is None else channel.version):
            self.dispatch(key, shared)  # another worker heard of it first; the streams already here get it, too
            channel = self._channels[key]
        elif channel is None:
            channel = self._channels[key] = _Channel()
        if not channel.streams and channel.pace is None:
            channel.sent = channel.version
        channel.streams[stream] = channel.events
        self.open += 1
        self._metrics.streams_open.total += 1
        self._metrics.streams_opened.total += 1
        return channel.encoded() if channel.version else None

    def unsubscribe(self, key: str, stream: Subscriber) -> None:
        """Remove `stream`; the channel of a key that has no version goes with its last stream."""
        channel = self._channels.get(key)
        if channel is None or channel.streams.pop(stream, None) is None:
            return
        self.open -= 1
        self._metrics.streams_open.total -= 1
        if not channel.streams and not channel.version:
            del self._channels[key]

    def dispatch(self, key: str, version: int) -> bool:
        """Tell the streams of `key` of `version`, now or as soon as the pace allows; True when it is news."""
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel()
        if version <= channel.version:
            return False
        if not channel.version:
            self.known += 1
            self._metrics.versions_known.total += 1
        channel.version = version
        self._send_newest(channel)
        return True

    async def end_all(self, *, clean: bool) -> None:
        """End every stream, a slice at a time."""
        streams = [stream for channel in self._channels.values() for stream in channel.streams]
        for position, stream in enumerate(streams, start=1):
            stream.end(clean=clean)
            if position % SLICE == 0:
                await asyncio.sleep(0)

    def _send_newest(self, channel: _Channel) -> None:
        if channel.pace is not None or channel.busy or channel.sent >= channel.version:
            return
        if not channel.streams:
            channel.sent = channel.version
            return
        frame = channel.encoded()
        channel.sent = frame.version
        channel.events += 1
        channel.busy = True
        interval = self._interval(channel)
        if interval > 0:
            channel.pace = asyncio.get_running_loop().call_later(interval, self._pace_over, channel)
        self._metrics.events_dispatched.inc()
        self._deliveries.append(_Delivery(channel, frame))
        if not self._turn_due:
            self._take_turn()  # nothing else is under way: the first slice goes out without waiting for the loop

    def _pace_over(self, channel: _Channel) -> None:
        channel.pace = None
        self._send_newest(channel)

    def _interval(self, channel: _Channel) -> float:
        """Return the seconds until the next event: `min_interval`, more once the oldest stream is half full.

        From there on an event takes a lifetime divided by what is left, so that what is left cannot be used up.
        """
        oldest = next(iter(channel.streams.values()))
        left = self._max_events - 1 - (channel.events - oldest)  # one is the stream's opening block
        if left > self._max_events // 2:
            return self._min_interval
        return max(self._min_interval, self._lifetime / max(left, 1))

    def _take_turn(self) -> None:
        """Offer one slice of the delivery whose turn it is, and come back for the next after a turn of the loop."""
        self._turn_due = False
        delivery = self._deliveries.popleft()
        position = delivery.position
        done = delivery.offer_slice()
        self._metrics.deliveries.total += min(SLICE, len(delivery.streams) - position)
        if not done:
            self._deliveries.append(delivery)
        if self._deliveries:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._take_turn)
        if done:
            self._metrics.dispatch_seconds.observe(time.perf_counter() - delivery.began)
            delivery.channel.busy = False
            self._send_newest(delivery.channel)  # without a pace, what came meanwhile is due
