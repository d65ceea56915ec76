"""The asyncio shell of the connection: httpx does what the state machine says, and tells it what happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, NoReturn, Protocol

import httpx

from sdk_client.connection import Connection, Deliver, Intention, Live, State, Wait
from sdk_client.loading import reason_of

__all__ = ["Follower", "Listener"]

_log = logging.getLogger("sdk_client")

# No Cache-Control: at some edges it is a way round the cache, and every client would be a stream of its own.
_HEADERS: Final = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}


# No read timeout: the machine's deadline is the watchdog, and knows more than a fixed time between bytes. Connecting
# has one below that deadline, because httpcore leaks the socket of a TLS handshake that is cancelled.
_TIMEOUT: Final = httpx.Timeout(None, connect=5.0)


class Listener(Protocol):
    """Who is told of the stream."""

    def on_live(self) -> None:
        """Take that a stream has opened."""

    def on_version(self, version: int) -> None:
        """Take the version that the environment has reached."""

    def on_end(self, wait: Wait) -> None:
        """Take that the stream ended, or could not be opened."""


class Follower:
    """Follows one stream for ever; ends only by cancellation, and then leaves nothing open."""

    def __init__(
        self, http: httpx.AsyncClient, url: str, connection: Connection, listener: Listener, clock: Callable[[], float]
    ) -> None:
        self._http = http
        self._url = url
        self._connection = connection
        self._listener = listener
        self._clock = clock
        self._troubled = False

    async def run(self) -> NoReturn:
        """Open, read, wait, and again."""
        self._carry_out(self._connection.start(self._clock()))
        while True:
            if self._connection.state is State.OPENING:
                await self._one_stream()
            left = self._connection.deadline - self._clock()
            if left > 0:
                await asyncio.sleep(left)
            self._tick()

    async def _one_stream(self) -> None:
        connection = self._connection
        try:
            async with (
                asyncio.timeout(connection.deadline - self._clock()) as watchdog,
                self._http.stream(
                    "GET", self._url, headers=_HEADERS, timeout=_TIMEOUT, follow_redirects=False
                ) as response,
            ):
                self._carry_out(connection.opened(response.status_code, response.headers, self._clock()))
                if connection.state is State.LIVE:
                    await self._read(response, watchdog)
        except TimeoutError:
            self._tick()
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            if connection.state in (State.OPENING, State.LIVE):
                self._carry_out(connection.failed(reason_of(error), self._clock()))

    async def _read(self, response: httpx.Response, watchdog: asyncio.Timeout) -> None:
        connection = self._connection
        loop = asyncio.get_running_loop()
        watchdog.reschedule(loop.time() + connection.deadline - self._clock())
        async for data in response.aiter_bytes():
            self._carry_out(connection.received(data, self._clock()))
            if connection.state is not State.LIVE:
                return
            watchdog.reschedule(loop.time() + connection.deadline - self._clock())
        self._carry_out(connection.ended(self._clock()))

    def _tick(self) -> None:
        # A timer may fire a clock's tick early; without the maximum the machine would answer "not yet" in a loop.
        self._carry_out(self._connection.tick(max(self._clock(), self._connection.deadline)))

    def _carry_out(self, intentions: Iterable[Intention]) -> None:
        for intention in intentions:
            match intention:
                case Deliver(version):
                    self._listener.on_version(version)
                case Live():
                    self._report_live()
                    self._listener.on_live()
                case Wait():
                    self._report_end(intention)
                    self._listener.on_end(intention)
                case _:  # Open and Close are where the code stands: inside or outside of the response
                    pass

    def _report_live(self) -> None:
        if self._troubled:
            self._troubled = False
            _log.info("the flag stream is back")

    def _report_end(self, wait: Wait) -> None:
        if wait.end.is_error and not self._troubled:  # once, not once an attempt
            self._troubled = True
            _log.warning("the flag stream is down (%s); flags stay as they are, trying again", wait.end.reason)
        else:
            _log.debug("the stream ended (%s), next one in %.2f s", wait.end.reason, wait.seconds)
