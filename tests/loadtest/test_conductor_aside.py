from __future__ import annotations

import asyncio
import threading
import time

import pytest

from loadtest.aside import aside


@pytest.mark.asyncio
async def test_work_goes_on_while_this_loop_is_busy() -> None:
    turns: list[float] = []

    async def work() -> None:
        while len(turns) < 20:
            turns.append(time.monotonic())
            await asyncio.sleep(0.001)

    working = asyncio.create_task(aside(work))
    await asyncio.sleep(0)
    until = time.monotonic() + 60
    while len(turns) < 20 and time.monotonic() < until:
        pass  # never a turn of this loop
    assert len(turns) == 20
    await working


@pytest.mark.asyncio
async def test_a_cancellation_is_passed_on_and_waited_for() -> None:
    said: list[str] = []

    async def work() -> None:
        said.append(threading.current_thread().name)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            said.append("tidied")

    working = asyncio.create_task(aside(work))
    while not said:
        await asyncio.sleep(0.001)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert said[0] != threading.current_thread().name
    assert said[1] == "tidied"


@pytest.mark.asyncio
async def test_a_failure_is_raised_here() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await aside(work)
