"""Every program of docs/client.md runs as it stands, against a server that changes a flag now and then."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from sdk_client import EndKind, Status
from tests.programs import environment
from tests.sdk_client.scripted import KEY, ScriptedServer

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "client.md").read_text()
PRINTED = ["a", "True", "banner True", "True Source.SERVER", "Source.SERVER", "", "", '{"identifier": "user-1"']
"""What the programs print last, or the beginning of it."""


async def output(block: str, server: ScriptedServer, folder: Path) -> str:
    program = block.replace("https://flags.example.com", server.url).replace('"KEY"', repr(KEY))
    program = program.replace("/var/lib/app/flags/", f"{folder}/")
    if str(folder) in program:  # an end that comes at once waits 0.2 s for the disk, which may take longer
        program += f"import pathlib, time\nwhile not [*pathlib.Path({str(folder)!r}).rglob('*.json')]: time.sleep(0.01)"
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program),
        cwd=ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, wrong = await running.communicate()
    assert running.returncode == 0, wrong.decode()
    assert not wrong, "nothing is left to warn of at the end"
    return printed.decode()


def kept(folder: Path) -> list[Path]:
    return list(folder.rglob("*.json"))


@pytest.mark.asyncio
async def test_every_program_of_the_manual_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    assert len(blocks) == len(PRINTED)
    async with ScriptedServer(features={"banner": (True, "a")}) as server:
        others = [output(block, server, tmp_path) for block in blocks if "flags.changes()" not in block]
        printed = await asyncio.gather(*others)
        changes = asyncio.ensure_future(
            output(next(block for block in blocks if "flags.changes()" in block), server, tmp_path)
        )
        number = 0
        while not changes.done():
            server.announce(server.version + 1_000_000, banner=f"b{number}")
            number += 1
            await asyncio.sleep(0.1)
    printed.insert(2, await changes)
    for text, expected in zip(printed, PRINTED, strict=True):
        lines = text.splitlines() or [""]
        assert lines[-1].startswith(expected), (text, expected)
    assert kept(tmp_path), "the last good document is kept"


@pytest.mark.parametrize("status", Status)
def test_the_manual_names_every_status(status: Status) -> None:
    assert f"`{status.value}`" in MANUAL


@pytest.mark.parametrize("kind", EndKind)
def test_the_manual_names_every_reason_for_the_end_of_a_stream(kind: EndKind) -> None:
    assert f"`{kind.value}`" in MANUAL
