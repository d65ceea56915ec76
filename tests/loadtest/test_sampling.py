"""What programs use, as a run samples it: real processes, their ends included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from loadtest.machine import cpu_of, cpu_seconds, described, resident, tree
from loadtest.sampling import Sampler
from tests.servers import wait_until

HOLDS = 40 << 20

BUSY = f"held = bytearray({HOLDS}); print(flush=True)\nwhile True: pass"
BESIDES = "import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds 40 MiB and computes."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_program_that_computes_is_seen_to_and_its_memory_too(busy: subprocess.Popen[bytes]) -> None:
    sampler = Sampler(lambda: {"busy": [busy.pid]})
    first = sampler.sample()["busy"]
    wait_until(lambda: sampler.sample()["busy"].cpu > first.cpu + 0.05, "CPU used by a busy process")
    assert HOLDS < sampler.sample()["busy"].rss < HOLDS * 3


def test_what_a_dead_process_used_stays_counted_and_its_memory_does_not(busy: subprocess.Popen[bytes]) -> None:
    pids = [busy.pid]
    sampler = Sampler(lambda: {"busy": pids})
    wait_until(lambda: sampler.sample()["busy"].cpu > 0.05, "CPU used by a busy process")
    busy.send_signal(signal.SIGSTOP)
    wait_until(lambda: sampler.sample() == sampler.sample(), "a stopped process")
    used = sampler.sample()["busy"].cpu
    busy.kill()
    busy.wait()
    after = sampler.sample()["busy"]
    assert after.cpu == pytest.approx(used, abs=0.01)
    assert after.rss == 0
    pids[:] = [os.getpid()]
    assert sampler.sample()["busy"].cpu >= after.cpu + 0.01, "its successor's comes on top"
    pids.clear()
    assert sampler.sample()["busy"].cpu > after.cpu


def test_a_program_that_is_named_no_more_is_still_told_of(busy: subprocess.Popen[bytes]) -> None:
    named = {"busy": [busy.pid], "quiet": []}
    sampler = Sampler(lambda: named)
    before = sampler.sample()
    assert before["quiet"].cpu == before["quiet"].rss == 0
    del named["busy"]
    after = sampler.sample()
    assert after["busy"].cpu >= before["busy"].cpu
    assert after["busy"].rss == 0


def test_a_tree_has_the_children_of_a_process_and_their_cpu_adds_up() -> None:
    command = [sys.executable, "-c", BESIDES.format(busy=BUSY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        parent, child = tree(process.pid)
        assert parent == process.pid
        before = cpu_of(child)
        assert cpu_seconds([parent, child]) >= before > 0
        assert resident(child) > HOLDS
        os.kill(child, signal.SIGKILL)
    with pytest.raises(OSError):  # noqa: PT011 - ESRCH or EINVAL, as the kernel likes
        cpu_of(process.pid)


def test_the_machine_says_what_figures_depend_on() -> None:
    said = described()
    assert said["cores"] == os.cpu_count()
    assert said["page_bytes"] == os.sysconf("SC_PAGE_SIZE")
    assert isinstance(said["somaxconn"], int)
    lowest, highest = map(int, str(said["local_ports"]).split())
    assert 0 < lowest < highest < 65536
