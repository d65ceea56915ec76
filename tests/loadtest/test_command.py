from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtest.command import run_command
from loadtest.stack import StackError
from tests.programs import is_alive
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (shell("echo first >&2; echo 'no such unit' >&2; exit 3"), "/bin/sh ended with status 3: no such unit"),
        (shell("exit 4"), "/bin/sh ended with status 4"),
        (shell("kill -9 $$"), "/bin/sh was killed by SIGKILL"),
        (shell("yes wrong | head -c 3000000 >&2; exit 1"), "/bin/sh ended with status 1: wrong"),
        (["no-such-program"], "no-such-program cannot be run: No such file or directory"),
        (["/"], "/ cannot be run: Permission denied"),
    ],
    ids=["status", "silent", "killed", "much_said", "missing", "a_folder"],
)
async def test_a_command_that_fails_is_quoted(command: list[str], reason: str) -> None:
    with pytest.raises(StackError) as failed:
        await run_command(command)
    assert str(failed.value) == reason


async def test_a_command_has_ended_when_it_has_whatever_it_left_behind(tmp_path: Path) -> None:
    await run_command(shell(f"sleep 600 & echo $! >{tmp_path}/pid"))
    left = int((tmp_path / "pid").read_text())
    assert is_alive(left)
    await run_command(["kill", str(left)])


async def test_a_command_that_hangs_goes_with_the_run_and_all_of_its_group(tmp_path: Path) -> None:
    running = asyncio.create_task(
        run_command(shell(f"sleep 600 & echo $! >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; wait"))
    )
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(child), "the end of the group")
