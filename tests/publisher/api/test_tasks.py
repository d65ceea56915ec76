from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from publisher.batches import Batches
from publisher.tasks import Tasks


@pytest.mark.asyncio
async def test_a_background_task_that_ends_takes_the_process_with_it_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    died = asyncio.Event()
    tasks = Tasks(died.set)

    async def fail() -> None:
        raise ZeroDivisionError

    tasks.start("relay", fail())
    await asyncio.wait_for(died.wait(), 30)
    await tasks.stop()
    assert "background task ended" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.asyncio
async def test_stopping_is_no_death() -> None:
    died = asyncio.Event()
    tasks = Tasks(died.set)
    tasks.start("waiting", asyncio.Event().wait())  # type: ignore[arg-type] # what it would return does not matter
    await asyncio.sleep(0)
    await tasks.stop()
    assert not died.is_set()


@pytest.mark.asyncio
async def test_what_comes_during_a_write_goes_into_the_next_one_together() -> None:
    written: list[list[int]] = []
    free = asyncio.Event()

    async def write(items: Sequence[int]) -> list[int]:
        written.append(list(items))
        await free.wait()
        return [item * 2 for item in items]

    batches: Batches[int, int] = Batches(write)
    running = asyncio.ensure_future(batches.run())
    first = asyncio.ensure_future(batches.submit(0))
    while not written:
        await asyncio.sleep(0)
    others = [asyncio.ensure_future(batches.submit(number)) for number in range(1, 6)]
    hung_up = others.pop()
    await asyncio.sleep(0)
    hung_up.cancel()
    free.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8]
    assert written == [[0], [1, 2, 3, 4, 5]]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.asyncio
async def test_a_failed_write_is_told_to_all_who_wait_for_it_and_to_nobody_else() -> None:
    async def write(items: Sequence[str]) -> Sequence[str]:
        if "bad" in items:
            raise ConnectionResetError
        return items

    batches: Batches[str, str] = Batches(write)
    running = asyncio.ensure_future(batches.run())
    found = await asyncio.gather(*(batches.submit(item) for item in ("a", "bad")), return_exceptions=True)
    assert [type(each) for each in found] == [ConnectionResetError] * 2
    assert await batches.submit("b") == "b"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
