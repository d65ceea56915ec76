from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from sdk_client.pulse import Pulse, Unsubscribe
from sdk_client.wakefulness import STEP_PATIENCE, SleepWatch, Wakefulness, watch
from tests.sdk_client.lines import Lines

INTERVAL = 5.0

# (seconds on the monotonic clock, seconds on the other one) from look to look, and whether that was sleep.
CASES: dict[str, tuple[bool, list[tuple[float, float, bool]]]] = {
    "awake": (False, [(5.0, 5.0, False), (5.1, 5.1, False), (5.0, 5.0, False)]),
    "a busy machine is a little late": (False, [(9.0, 9.0, False), (9.9, 9.9, False)]),
    "suspended on Linux": (False, [(5.0, 5.0, False), (5.0, 3605.0, True), (5.0, 5.0, False)]),
    "suspended between two looks, each time": (False, [(5.0, 65.0, True), (5.0, 65.0, True)]),
    "too short a sleep": (False, [(5.0, 9.9, False), (5.0, 9.9, False), (5.0, 9.9, False)]),
    "stopped, or asleep where the monotonic clock goes on": (False, [(605.0, 605.0, True), (5.0, 5.0, False)]),
    "a look out of turn": (False, [(0.1, 0.1, False), (0.1, 30.1, True)]),
    "asleep by the wall clock": (True, [(5.0, 3605.0, True), (5.0, 5.0, False)]),
    "a step ahead is taken for sleep, once": (True, [(5.0, 65.0, True), (5.0, 5.0, False), (5.0, 5.0, False)]),
    "a step back is not": (True, [(5.0, -3600.0, False), (5.0, 5.0, False)]),
    "late although the clock was set back": (True, [(605.0, -3600.0, True)]),
    "slewed by NTP": (True, [(5.0, 5.0025, False)] * 20),
    "stopped although the wall clock is not believed": (True, [(5.0, 65.0, True), (30.0, 90.0, True)]),
}


@pytest.mark.parametrize("case", CASES)
def test_sleep_is_told_from_other_ways_of_clocks(case: str) -> None:
    settable, looks = CASES[case]
    wakefulness = Wakefulness(INTERVAL, settable=settable)
    monotonic, other = 1000.0, 1_700_000_000.0
    assert not wakefulness.look(monotonic, other), "nothing to compare the first look with"
    for number, (passed, other_passed, slept) in enumerate(looks):
        monotonic += passed
        other += other_passed
        assert wakefulness.look(monotonic, other) is slept, number


@pytest.mark.parametrize("steps", [(60.0, -50.0), (60.0, 60.0), (15.0, 15.0)], ids=["to-and-fro", "ahead", "fast"])
def test_a_wall_clock_that_somebody_keeps_setting_is_no_endless_alarm(steps: tuple[float, float]) -> None:
    wakefulness = Wakefulness(INTERVAL, settable=True)
    wakefulness.look(0.0, 0.0)
    minutes, now, other, alarms = 60, 0.0, 0.0, 0
    while now < minutes * 60:
        for step in steps:
            now += INTERVAL
            other += step
            alarms += wakefulness.look(now, other)
    assert 1 <= alarms <= minutes * 60 / STEP_PATIENCE


STOPPED = """
import asyncio
from sdk_client.pulse import Pulse, Unsubscribe
from sdk_client.wakefulness import SleepWatch

async def main():
    beats = Pulse(asyncio.get_running_loop(), 0.05)
    seen = asyncio.Semaphore(0)
    SleepWatch(beats, threshold=0.8).subscribe(seen.release)
    beats.subscribe(lambda: print("beat", flush=True))
    while True:
        await seen.acquire()
        print("slept", flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_process_that_was_stopped_notices_when_it_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            lines = Lines(process)
            lines.until("beat")
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(1.0)  # the time it sleeps is what is tested
            os.kill(process.pid, signal.SIGCONT)
            lines.until("slept")
        finally:
            process.kill()


@pytest.mark.asyncio
async def test_a_blocked_event_loop_is_told_once_and_to_everybody(caplog: pytest.LogCaptureFixture) -> None:
    beats = Pulse(asyncio.get_running_loop(), 0.02)
    sleeps = SleepWatch(beats, threshold=0.1)
    told: list[str] = []
    done = asyncio.Event()
    ends: list[Unsubscribe] = []

    def fail() -> None:
        raise ZeroDivisionError("of the user's own")

    def leave() -> None:
        for end in ends:
            end()
        done.set()

    ends += [sleeps.subscribe(lambda: told.append("first")), sleeps.subscribe(fail)]
    ends += [sleeps.subscribe(lambda: told.append("last")), sleeps.subscribe(leave)]
    time.sleep(0.3)  # noqa: ASYNC251 - what is tested: nothing else on this loop goes on
    async with asyncio.timeout(30):
        await done.wait()
    assert told == ["first", "last"]
    assert "of the user's own" in caplog.text
    assert not beats.is_running


@pytest.mark.asyncio
async def test_what_passed_while_nobody_was_subscribed_is_nobodys_sleep() -> None:
    beats = Pulse(asyncio.get_running_loop(), 0.02)
    sleeps = SleepWatch(beats, threshold=0.5)
    told: list[str] = []
    sleeps.subscribe(lambda: told.append("early"))()
    time.sleep(0.6)  # noqa: ASYNC251 - what is tested
    end = sleeps.subscribe(lambda: told.append("late"))
    beats._beat()
    end()
    assert not told


@pytest.mark.asyncio
async def test_clients_of_a_loop_share_one_watch() -> None:
    loop = asyncio.get_running_loop()
    assert watch(loop) is watch(loop)
