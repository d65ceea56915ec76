from __future__ import annotations

import asyncio

import pytest

from flagstream.cancelling import cancel


@pytest.mark.asyncio
async def test_a_task_that_lost_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flagstream.cancelling.ASK_AGAIN", 0.01)
    heard = 0

    async def loses_one() -> None:
        nonlocal heard
        while heard < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard += 1

    async def heeds_it() -> None:
        await asyncio.Event().wait()

    async def has_failed() -> None:
        raise ValueError("mine")

    loses, heeds, failed = tasks = [asyncio.create_task(work()) for work in (loses_one, heeds_it, has_failed)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await cancel(tasks)
    assert (heard, loses.result(), heeds.cancelled(), str(failed.exception())) == (2, None, True, "mine")
    await cancel([])
