"""From versions to streams: who listens to which environment, how fast, and in whose turn.

The hub knows neither HTTP nor NATS. The feed calls `Hub.dispatch`; whoever holds an open connection subscribes an
object with two methods (`Subscriber`). Everything here runs on one event loop and no table changes across an await.

- **Maximum.** A version that is not newer is nothing.
- **Pace.** The first change of an environment goes out at once; after that one event every `min_interval` seconds, or
  what an operator's brown-out says, the newest. As the oldest stream nears `max_events` the interval stretches, so that
  no stream is ever ended for its number of events and the body that a CDN replays to late joiners stays small.
- **Turns.** A delivery offers its frame to a slice of streams and lets the loop and the other deliveries have a turn,
  so that an environment with twenty streams does not wait for one with a hundred thousand.
- **Kill switch.** Streams of a killed environment are kept and told nothing; the newest version waits for its end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from stream_server.control import EVERYONE, Controls
from stream_server.frames import Frame
from stream_server.metrics import Metrics

__all__ = ["Hub", "Subscriber"]

SLICE: Final = 256
"""Streams offered a frame before everything else gets a turn; about 10 ms of writes on the portable path."""

TOUCHED: Final = 256
"""Channels looked at in one turn after the controls changed; 3 ms where each has a version that waited."""


class Subscriber(Protocol):
    """What the hub needs of a stream. Neither method may block, await or raise."""

    def offer(self, frame: Frame) -> None:
        """Send `frame`, or keep it in place of an older unsent one; one that is not newer than its last is nothing.

        Called after the stream has left, too.
        """

    def end(self, *, clean: bool) -> None:
        """End the stream now: with a final chunk, or cut so that no cache takes it for complete."""


class _Channel:
    """One environment: its newest version and its streams, oldest first, each with the events sent before it came."""

    __slots__ = ("began", "busy", "events", "frame", "key", "pace", "sent", "streams", "version")

    def __init__(self, key: str) -> None:
        self.key = key
        self.version = 0  # newest known
        self.sent = 0  # newest that a delivery was begun for; 0 where a stream has missed it
        self.events = 0  # deliveries begun, ever
        self.began = 0.0  # when the last one did, by the loop's clock
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

    @property
    def done(self) -> bool:
        """Whether all have been offered the frame."""
        return self.position >= len(self.streams)

    def offer(self, most: int) -> int:
        """Offer to the next streams, at most `most`; return to how many."""
        offered = self.streams[self.position : self.position + most]
        self.position += len(offered)
        frame = self.frame
        for stream in offered:
            stream.offer(frame)
        return len(offered)


class Hub:
    """The streams of this process by environment key.

    `newest` looks a key up in the table that the workers of this host share; `lifetime` is the longest that a stream
    lives, in seconds, `min_interval` is the setting of that name, `max_events` the number of events that fit into the
    limits of one stream.
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
        self._room = SLICE  # streams that may still be offered a frame in this turn of the loop
        self._offering = False
        self._turn_due = False
        self._controls = Controls()
        self._touched: deque[_Channel] = deque()
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

    def canonical(self, key: str) -> str:
        """Return the hub's own string of `key`, where it has one, so that a hundred thousand streams share it."""
        channel = self._channels.get(key)
        return key if channel is None else channel.key

    def subscribe(self, key: str, stream: Subscriber) -> Frame | None:
        """Add `stream` and return the newest known version, for its first block; every newer one is offered to it."""
        shared = self._newest(key)
        channel = self._channels.get(key)
        if shared > (0 if channel is None else channel.version):
            self.dispatch(key, shared)  # another worker heard of it first; the streams already here get it, too
            channel = self._channels[key]
        elif channel is None:
            channel = self._channels[key] = _Channel(key)
        killed = self._controls.is_killed(key)
        if killed:
            channel.sent = 0
        elif not channel.streams and channel.pace is None:
            channel.sent = channel.version
        channel.streams[stream] = channel.events
        self.open += 1
        self._metrics.streams_open.total += 1
        self._metrics.streams_opened.total += 1
        return channel.encoded() if channel.version and not killed else None

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
            channel = self._channels[key] = _Channel(key)
        if version <= channel.version:
            return False
        if not channel.version:
            self.known += 1
            self._metrics.versions_known.total += 1
        channel.version = version
        self._send_newest(channel)
        return True

    def control(self, controls: Controls) -> None:
        """Put a whole new set of controls in force.

        From now on no stream of a killed environment is told anything. What a change releases, versions that waited
        and paces that are shorter now, follows a few channels a turn of the loop.
        """
        changed = controls.changed(self._controls)
        self._controls = controls
        waiting = bool(self._touched)
        if EVERYONE in changed:
            self._touched = deque(self._channels.values())
        else:
            self._touched.extend(self._channels[key] for key in changed if key in self._channels)
        if self._touched and not waiting:
            self._touch()

    def withholds(self, key: str) -> bool:
        """Tell whether `key` is killed: a frame that a stream on it has kept is then not sent, but offered again."""
        if not self._controls.is_killed(key):
            return False
        self._channels[key].sent = 0  # the end of the kill switch has something to tell
        return True

    async def end_all(self, *, clean: bool) -> None:
        """End every stream, a slice at a time."""
        await self._end([stream for channel in self._channels.values() for stream in channel.streams], clean=clean)

    async def end(self, key: str, *, clean: bool) -> None:
        """End the streams of `key`, a slice at a time."""
        channel = self._channels.get(key)
        if channel is not None:
            await self._end(list(channel.streams), clean=clean)

    async def _end(self, streams: list[Subscriber], *, clean: bool) -> None:
        for position, stream in enumerate(streams, start=1):
            stream.end(clean=clean)
            if position % SLICE == 0:
                await asyncio.sleep(0)

    def _send_newest(self, channel: _Channel) -> None:
        if channel.pace is not None or channel.busy or channel.sent >= channel.version:
            return
        if self._controls.is_killed(channel.key):
            return
        if not channel.streams:
            channel.sent = channel.version
            return
        frame = channel.encoded()
        channel.sent = frame.version
        channel.events += 1
        channel.busy = True
        loop = asyncio.get_running_loop()
        channel.began = loop.time()
        interval = self._interval(channel)
        if interval > 0:
            channel.pace = loop.call_later(interval, self._pace_over, channel)
        self._metrics.events_dispatched.inc()
        self._deliveries.append(_Delivery(channel, frame))
        if self._room and not self._offering:
            self._offer()  # without waiting for the loop

    def _pace_over(self, channel: _Channel) -> None:
        channel.pace = None
        self._send_newest(channel)

    def _interval(self, channel: _Channel) -> float:
        """Return the seconds until the next event: the environment's pace, longer once the oldest stream is half full.

        From there on an event takes a lifetime divided by what is left, so that what is left cannot be used up.
        """
        interval = max(self._min_interval, self._controls.interval(channel.key))
        oldest = next(iter(channel.streams.values()), channel.events)
        left = self._max_events - 1 - (channel.events - oldest)  # one is the stream's opening block
        if left > self._max_events // 2:
            return interval
        return max(interval, self._lifetime / max(left, 1))

    def _touch(self) -> None:
        """Let some of the channels whose controls have changed go on, and come back for the others."""
        touched, loop = self._touched, asyncio.get_running_loop()
        for _ in range(min(TOUCHED, len(touched))):
            channel = touched.popleft()
            if channel.pace is not None:
                # The pace that runs was begun under other controls: a minute of brown-out must not outlast its end.
                channel.pace.cancel()
                due = channel.began + self._interval(channel)
                channel.pace = loop.call_at(due, self._pace_over, channel) if due > loop.time() else None
            self._send_newest(channel)
        if touched:
            loop.call_soon(self._touch)

    def _take_turn(self) -> None:
        self._turn_due = False
        self._room = SLICE
        if self._deliveries:
            self._offer()

    def _offer(self) -> None:
        """Offer frames to as many streams as this turn of the loop has room for, each delivery in its turn.

        Small deliveries share a turn, so that a change of a thousand environments at once costs a few turns.
        """
        self._offering = True
        try:
            while self._deliveries and self._room:
                self._offer_next()
        finally:  # whatever a stream does wrong, it silences no other environment
            self._offering = False
            if not self._turn_due:
                self._turn_due = True
                asyncio.get_running_loop().call_soon(self._take_turn)

    def _offer_next(self) -> None:
        delivery = self._deliveries[0]
        channel = delivery.channel
        if self._controls.is_killed(channel.key):
            self._deliveries.popleft()
            channel.sent = 0  # who has not been told waits for the end of the kill switch
            channel.busy = False
            return
        offered = delivery.offer(self._room)
        self._room -= offered
        self._metrics.deliveries.total += offered
        self._deliveries.popleft()
        if not delivery.done:
            self._deliveries.append(delivery)
            return
        self._metrics.dispatch_seconds.observe(time.perf_counter() - delivery.began)
        channel.busy = False
        self._send_newest(channel)  # without a pace, what came meanwhile is due
