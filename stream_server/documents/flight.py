"""Coalescing: one fetch of a document at a time, however many wait, and nobody joins one that began too early.

A flight that began before version N was known may bring the document from before N. So who comes when N is known
joins only a flight that began when N was `known`, and starts another one where there is none. That a flight is *wanted*
to bring N says nothing of it: anybody can want anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from flagstream.logs import get_logger
from stream_server.documents.document import DocumentKey

__all__ = ["Flight", "Flights"]

log = get_logger(__name__)

T = TypeVar("T")

LAST_WAIT: Final = 2.0
"""Seconds that a stopping process gives what is left to do after flights: keeping and forgetting documents."""


@dataclass(slots=True, eq=False)
class Flight(Generic[T]):
    """A fetch. `known` is the version that was announced when it began; `landed` holds what it brought.

    Until it has `begun`, `wanted`, the newest version that anybody asked of it, may still rise. Nobody joins one that
    is `sealed`. `afterwards` is what is still to do then, for which nobody waits.
    """

    wanted: int
    landed: asyncio.Future[T]
    known: int = 0
    begun: bool = False
    sealed: bool = False
    afterwards: Callable[[], Awaitable[None]] | None = None


class Flights(Generic[T]):
    """The flights under way, by document."""

    def __init__(self) -> None:
        self._flights: dict[DocumentKey, list[Flight[T]]] = {}
        self._tasks: dict[asyncio.Task[None], Flight[T]] = {}

    def to_join(self, key: DocumentKey, known: int, wanted: int) -> Flight[T] | None:
        """Return a flight that began when `known` was known and that was asked for `wanted`."""
        for flight in self._flights.get(key, ()):
            if flight.begun and not flight.sealed and flight.known >= known and flight.wanted >= wanted:
                return flight
        return None

    def seal(self, path: str, environment_key: str) -> None:
        """Let nobody join the flights of `path` that are under way: something has changed since they began."""
        for key, flights in self._flights.items():
            if (key.path, key.environment_key) == (path, environment_key):
                for flight in flights:
                    flight.sealed = True

    def to_come(self, key: DocumentKey, wanted: int) -> Flight[T] | None:
        """Return the flight that begins later, which now will bring `wanted` too."""
        for flight in self._flights.get(key, ()):
            if not flight.begun:
                flight.wanted = max(flight.wanted, wanted)
                return flight
        return None

    def under_way(self, key: DocumentKey) -> list[Flight[T]]:
        """Return the flights that have begun."""
        return [flight for flight in self._flights.get(key, ()) if flight.begun]

    def start(
        self,
        key: DocumentKey,
        *,
        known: int,
        wanted: int,
        fetch: Callable[[Flight[T]], Awaitable[T]],
        delay: float = 0.0,
    ) -> Flight[T]:
        """Begin `fetch` after `delay` seconds, in a task of its own: who waits for it may go away."""
        landed = asyncio.get_running_loop().create_future()
        flight: Flight[T] = Flight(wanted, landed, known=known, begun=delay <= 0)
        self._flights.setdefault(key, []).append(flight)
        self._own(flight, self._fly(key, flight, fetch, delay))
        return flight

    async def stop(self) -> None:
        """Cancel every flight; what is to do after those that have landed is done, as far as it goes quickly."""
        landed = [task for task, flight in self._tasks.items() if flight.landed.done()]
        for task in self._tasks.keys() - set(landed):
            task.cancel()
        if landed:
            await asyncio.wait(landed, timeout=LAST_WAIT)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, flight: Flight[T], flying: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(flying)
        self._tasks[task] = flight
        task.add_done_callback(self._tasks.pop)

    async def _fly(
        self, key: DocumentKey, flight: Flight[T], fetch: Callable[[Flight[T]], Awaitable[T]], delay: float
    ) -> None:
        try:
            if delay > 0:
                await asyncio.sleep(delay)
                flight.begun = True
            result = await fetch(flight)
        except asyncio.CancelledError:
            flight.landed.cancel()
            raise
        except Exception as error:
            log.exception("a fetch of a document went wrong")
            flight.landed.set_exception(error)
            flight.landed.exception()  # read here, so that it is no surprise where nobody waits any more
        else:
            flight.landed.set_result(result)
        finally:
            self._remove(key, flight)
        if flight.afterwards is not None:
            await flight.afterwards()

    def _remove(self, key: DocumentKey, flight: Flight[T]) -> None:
        left = [each for each in self._flights[key] if each is not flight]
        if left:
            self._flights[key] = left
        else:
            del self._flights[key]
