"""The timing wheel: late at most, never early, and done with who has left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from stream_server.wheel import Wheel

pytestmark = pytest.mark.asyncio


class Waiter:
    """Notes when it is called, and asks to be called again `again` times, `every` seconds apart."""

    def __init__(self, again: int = 0, every: float = 0.0) -> None:
        self.tick = 0
        self.called: list[float] = []
        self.again = again
        self.every = every
        self.done = asyncio.Event()

    def due(self, now: float) -> float | None:
        self.called.append(now)
        if len(self.called) > self.again:
            self.done.set()
            return None
        return now + self.every


@pytest_asyncio.fixture
async def wheel() -> AsyncIterator[Wheel]:
    wheel = Wheel(0.01)
    task = asyncio.create_task(wheel.run())
    yield wheel
    task.cancel()
    await asyncio.wait([task])


async def test_nobody_is_called_before_the_time(wheel: Wheel) -> None:
    began = time.monotonic()
    waiters = {began + delay / 1000: Waiter() for delay in range(0, 200, 3)}
    for at, waiter in waiters.items():
        wheel.add(waiter, at)
    await asyncio.wait_for(asyncio.gather(*(waiter.done.wait() for waiter in waiters.values())), 30)
    assert all(waiter.called[0] >= at for at, waiter in waiters.items())


async def test_who_asks_again_is_called_again(wheel: Wheel) -> None:
    waiter = Waiter(again=4, every=0.02)
    wheel.add(waiter, time.monotonic())
    await asyncio.wait_for(waiter.done.wait(), 30)
    pauses = [later - earlier for earlier, later in zip(waiter.called, waiter.called[1:], strict=False)]
    assert len(pauses) == 4
    assert min(pauses) >= 0.02


async def test_who_has_left_is_not_called_and_not_kept(wheel: Wheel) -> None:
    left, stays = Waiter(), Waiter()
    wheel.add(left, time.monotonic() + 0.05)
    wheel.add(stays, time.monotonic() + 0.1)
    wheel.discard(left)
    await asyncio.wait_for(stays.done.wait(), 30)
    assert left.called == []
    await asyncio.sleep(0)
    assert not any(wheel._ticks.values())


async def test_many_at_once_leave_the_loop_its_turns(wheel: Wheel) -> None:
    waiters = [Waiter() for _ in range(2000)]
    at = time.monotonic() + 0.05
    for waiter in waiters:
        wheel.add(waiter, at)
    partly = False
    async with asyncio.timeout(30):
        while not waiters[0].called or not all(waiter.called for waiter in waiters):
            await asyncio.sleep(0)
            called = sum(bool(waiter.called) for waiter in waiters)
            partly = partly or 0 < called < len(waiters)
    assert partly


async def test_one_that_fails_stops_the_time_of_nobody_else(wheel: Wheel, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Waiter):
        def due(self, now: float) -> float | None:
            super().due(now)
            raise ValueError("a fault of ours")

    failing, other = Failing(), Waiter(again=3, every=0.02)
    wheel.add(failing, time.monotonic())
    wheel.add(other, time.monotonic())
    await asyncio.wait_for(other.done.wait(), 30)
    assert len(failing.called) == 1
    assert sum(record.exc_info is not None for record in caplog.records) <= 1


async def test_nothing_is_kept_for_those_who_have_left() -> None:
    wheel = Wheel()
    waiters = [Waiter() for _ in range(1000)]
    for number, waiter in enumerate(waiters):
        wheel.add(waiter, time.monotonic() + number)
    for waiter in waiters:
        wheel.discard(waiter)
        wheel.discard(waiter)
    assert not wheel._ticks
