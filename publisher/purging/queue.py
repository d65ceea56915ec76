"""The purges of one edge: what waits, what is tried again, and when nobody should wait any longer.

An announcement waits for its purge at most `patience` seconds; after that the purge stays here and is tried until it
succeeds or the environment's next version asks for it anew. Only names wait, each once, and not more than `MOST`: what
is lost by that, or by a process that is killed, stays as old at the edge as if it had never been purged.

- **Failing**: one call at a time, with a growing pause. An edge that has failed for as long as `patience` is *given
  up*: announcements do not wait for it until it has purged again, or each change would be held up in vain.
- **Away**: nobody listens at its address. It serves nobody, and a cache in memory is lost with its process, so the
  purge counts as done. It is repeated all the same when the edge is back, for a cache that outlived it. An edge that is
  away is asked at every announcement: a refusal takes no time, and one that has just come back must be purged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flagstream.logs import get_logger
from publisher.purging.edge import AwayError, Edge, PurgeError

__all__ = ["EdgeCounters", "EdgePurges"]

log = get_logger(__name__)

MOST: Final = 100_000
"""Purges that wait for one edge at most, about 15 MB."""

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0

TIMEOUT: Final = 2.0
"""Seconds after which an edge that does not answer has failed, where `patience` is not shorter."""


@dataclass(slots=True)
class EdgeCounters:
    """Purges done, tried in vain and found unneeded because the edge was away, and those there was no room for."""

    purged: int = 0
    failed: int = 0
    away: int = 0
    forgotten: int = 0


Waiters = list[asyncio.Future[None]]


class EdgePurges:
    """The purges of `edge`; `run` is a task of the caller's."""

    def __init__(self, edge: Edge, *, patience: float) -> None:
        self.counters = EdgeCounters()
        self.fault = ""
        """Why the last call failed, empty when it did not; also for an edge that is away."""
        self._edge = edge
        self._patience = patience
        self._urgent: dict[str, Waiters] = {}  # somebody waits
        self._later: dict[str, None] = {}  # nobody does
        self._changed = asyncio.Event()
        self._in_flight = 0  # calls
        self._under_way = 0  # names in them
        self._failing_since: float | None = None
        self._away = False
        self._pause = 0.0
        self._not_before = 0.0

    @property
    def name(self) -> str:
        """The edge's name."""
        return self._edge.name

    @property
    def waiting(self) -> int:
        """How many purges are not done yet."""
        return len(self._urgent) + len(self._later) + self._under_way

    @property
    def is_given_up(self) -> bool:
        """Whether it has failed for so long that no announcement waits for it."""
        since = self._failing_since
        return since is not None and _now() - since >= self._patience

    async def purge(self, name: str, *, since: float | None = None) -> bool:
        """Purge `name` by a call that begins after this one; False when that has not succeeded within `patience`.

        `since` is the moment of the loop at which the patience began, now by default.
        """
        until = (_now() if since is None else since) + self._patience
        if self.is_given_up or self._not_before > until:
            self.later(name)
            return False
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._later.pop(name, None)
        self._urgent.setdefault(name, []).append(done)
        self._changed.set()
        try:
            async with asyncio.timeout_at(until):
                await done
        except TimeoutError:
            return False
        finally:
            if not done.done() or done.cancelled():
                self._leave(name, done)
        return True

    def later(self, name: str) -> None:
        """Purge `name` when the edge can be purged; nobody waits for it."""
        if name in self._urgent:
            return
        self._later[name] = None
        while len(self._later) > MOST:
            del self._later[next(iter(self._later))]
            self.counters.forgotten += 1
        self._changed.set()

    async def run(self) -> None:
        """Purge for ever; raises only on faults of the program."""
        try:
            async with asyncio.TaskGroup() as calls:
                while True:
                    pause = self._until_next()
                    if pause == 0:
                        calls.create_task(self._call(self._take()))
                        continue
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._changed.wait()
        finally:
            await self._edge.close()

    def _until_next(self) -> float | None:
        """Return the seconds until the next call is due; None for as long as nothing changes."""
        lanes = self._edge.lanes if self._failing_since is None else 1
        if not (self._urgent or self._later) or self._in_flight >= lanes:
            return None
        if self._urgent and self._away:
            return 0
        return max(0.0, self._not_before - _now())

    def _take(self) -> dict[str, Waiters]:
        """Take as many names as one call carries, those that somebody waits for first."""
        taken: dict[str, Waiters] = {}
        while len(taken) < self._edge.batch and self._urgent:
            name = next(iter(self._urgent))
            taken[name] = self._urgent.pop(name)
        while len(taken) < self._edge.batch and self._later and _now() >= self._not_before:
            name = next(iter(self._later))
            del self._later[name]
            taken.setdefault(name, [])
        self._in_flight += 1
        self._under_way += len(taken)
        return taken

    async def _call(self, taken: Mapping[str, Waiters]) -> None:
        began = _now()
        failure = await self._attempt(list(taken))
        self._in_flight -= 1
        self._under_way -= len(taken)
        if failure is None:
            self.counters.purged += len(taken)
            self._succeeded()
        elif isinstance(failure, AwayError):
            self.counters.away += len(taken)
            self._went_away(failure.reason)
        else:
            self.counters.failed += len(taken)
            self._failed(failure, began)
        for name, waiters in taken.items():
            if failure is not None and not isinstance(failure, AwayError):
                self._put_back(name, waiters)
                continue
            _release(waiters)
            if failure is not None:
                self.later(name)
        self._changed.set()

    async def _attempt(self, names: list[str]) -> PurgeError | None:
        """Purge `names` and return why it failed; a border that nothing passes, for what an edge sends is not ours."""
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(min(TIMEOUT, self._patience)):
                await self._edge.purge(names)
        except PurgeError as error:
            return error
        except TimeoutError:
            return PurgeError("it does not answer")
        except asyncio.CancelledError:
            if task is None or task.cancelling():
                raise
            return PurgeError("the call was cancelled by its own client")
        except Exception as error:
            if self._failing_since is None:
                log.exception("purging an edge fails in a way of its own", edge=self.name)
            return PurgeError(f"it fails in a way of its own: {type(error).__name__}")
        return None

    def _put_back(self, name: str, waiters: Waiters) -> None:
        still = [done for done in waiters if not done.done()]
        if still:
            self._later.pop(name, None)
            self._urgent.setdefault(name, []).extend(still)
        else:
            self.later(name)

    def _leave(self, name: str, done: asyncio.Future[None]) -> None:
        """Nobody waits by `done` any more; what was wanted is tried on."""
        done.cancel()
        waiters = self._urgent.get(name)
        if waiters is None or done not in waiters:
            return  # on its way, and put back when that fails
        waiters.remove(done)
        if not waiters:
            del self._urgent[name]
            self.later(name)

    def _succeeded(self) -> None:
        if self.fault:
            log.info("an edge is purged again", edge=self.name, waiting=self.waiting)
        self.fault = ""
        self._failing_since = None
        self._away = False
        self._pause = self._not_before = 0.0

    def _went_away(self, reason: str) -> None:
        if not self._away:
            log.warning("an edge that is to be purged is away; that counts as purged", edge=self.name, reason=reason)
        self.fault = reason
        self._away = True
        self._failing_since = None
        self._back_off(0.0)

    def _failed(self, error: PurgeError, began: float) -> None:
        if self._failing_since is None:
            log.warning("purging an edge fails, trying on", edge=self.name, reason=error.reason)
            self._failing_since = began
        self.fault = error.reason
        self._away = False
        self._back_off(error.wait)

    def _back_off(self, wait: float) -> None:
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        spread = random.uniform(self._pause / 2, self._pause)  # noqa: S311 - spreads attempts, no secret
        self._not_before = _now() + max(wait, spread)


def _release(waiters: Waiters) -> None:
    for done in waiters:
        if not done.done():
            done.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
