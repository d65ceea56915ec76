"""A process without its vital tasks dies, and says why."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio
from stream_server.supervision import vital

async def fails():
    await asyncio.sleep(0)
    raise RuntimeError("the reason")

async def returns():
    await asyncio.sleep(0)

async def lasts():
    await asyncio.Event().wait()

async def main():
    async with vital(other=lasts(), feed={work}()):
        await asyncio.sleep({seconds})
    print("left in peace")

asyncio.run(main())
"""


def run(work: str, seconds: float) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(work=work, seconds=seconds)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("work", ["fails", "returns"])
def test_vital_task_that_ends_ends_the_process_loudly(work: str) -> None:
    done = run(work, 20)
    assert done.returncode == 70
    assert "feed" in done.stdout + done.stderr
    assert ("the reason" in done.stdout + done.stderr) == (work == "fails")


def test_vital_tasks_are_stopped_when_the_block_is_left() -> None:
    done = run("lasts", 0)
    assert done.returncode == 0
    assert done.stdout == "left in peace\n"
