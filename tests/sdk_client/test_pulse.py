from __future__ import annotations

import asyncio
import gc
import threading
import warnings
import weakref
from collections.abc import Callable

import pytest
import uvloop

from sdk_client.network import networks
from sdk_client.pulse import PerLoop, Pulse, Unsubscribe, pulse
from sdk_client.wakefulness import watch

QUICK = 0.01

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


async def beats(of: Pulse, number: int = 3) -> None:
    """Wait for that many beats, as one more subscriber."""
    seen = asyncio.Semaphore(0)
    unsubscribe = of.subscribe(seen.release)
    async with asyncio.timeout(30):
        for _ in range(number):
            await seen.acquire()
    unsubscribe()


def is_running(of: Pulse) -> bool:
    return of.is_running


@pytest.mark.asyncio
async def test_a_thousand_subscribers_have_one_timer_between_them() -> None:
    loop = asyncio.get_running_loop()
    before = len(loop._scheduled)  # type: ignore[attr-defined]
    ends = [watch(loop).subscribe(lambda: None) for _ in range(1000)]
    ends += [
        networks(loop).subscribe(("192.0.2.2", 5), ("192.0.2.1", 80 + number), lambda: None) for number in range(1000)
    ]
    assert len(loop._scheduled) == before + 1  # type: ignore[attr-defined]
    for end in ends:
        end()
    assert not pulse(loop).is_running


@pytest.mark.asyncio
async def test_the_timer_is_there_as_long_as_a_subscriber_is() -> None:
    quick = Pulse(asyncio.get_running_loop(), QUICK)
    ends = [quick.subscribe(lambda: None), quick.subscribe(lambda: None)]
    ends[0]()
    ends[0]()  # twice is not two of them
    await beats(quick)
    assert is_running(quick)
    ends[1]()
    assert not quick.is_running
    await beats(quick)  # and it begins again


@pytest.mark.asyncio
async def test_a_callback_that_raises_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    quick = Pulse(asyncio.get_running_loop(), QUICK)

    def fail() -> None:
        raise ZeroDivisionError("of the user's own")

    end = quick.subscribe(fail)
    await beats(quick)
    end()
    assert "of the user's own" in caplog.text


@pytest.mark.asyncio
async def test_who_was_unsubscribed_by_another_callback_is_not_called_any_more() -> None:
    quick = Pulse(asyncio.get_running_loop(), 3600.0)
    called: list[str] = []
    ends: list[Unsubscribe] = []
    first = quick.subscribe(lambda: [end() for end in ends])
    ends.append(quick.subscribe(lambda: called.append("second")))
    last = quick.subscribe(lambda: called.append("last"))
    quick._beat()
    first()
    last()
    assert called == ["last"]
    assert not quick.is_running


@pytest.mark.asyncio
async def test_the_last_one_may_leave_from_its_own_callback() -> None:
    quick = Pulse(asyncio.get_running_loop(), QUICK)
    left = asyncio.Event()

    def leave() -> None:
        end()
        left.set()

    end = quick.subscribe(leave)
    async with asyncio.timeout(30):
        await left.wait()
    assert not quick.is_running


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_closes_without_a_word_though_somebody_is_still_subscribed(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()  # what others left behind
    loop = LOOPS[kind]()

    async def begin() -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        networks(loop).subscribe(("192.0.2.2", 5), ("192.0.2.1", 80), lambda: None)
        return watch(loop).subscribe(lambda: None)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        end = loop.run_until_complete(begin())
        loop.close()
        end()  # a client that is closed after its loop
        gc.collect()
    assert not caplog.records
    assert not caught


@pytest.mark.parametrize("kind", LOOPS)
def test_a_closed_loop_is_forgotten_when_the_next_one_comes(kind: str) -> None:
    of = PerLoop(Pulse)
    old = LOOPS[kind]()
    of(old).subscribe(lambda: None)
    old.close()
    seen = weakref.ref(old)
    del old
    new = LOOPS[kind]()
    of(new)
    gc.collect()
    assert seen() is None
    new.close()


def test_loops_of_several_threads_have_each_their_own() -> None:
    found: list[Pulse] = []

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        assert pulse(loop) is pulse(loop)
        await beats(Pulse(loop, QUICK))
        found.append(pulse(loop))

    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({id(one) for one in found}) == len(threads)
