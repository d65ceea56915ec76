from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from tests.programs import COMMAND, environment
from tests.sdk_client.scripted import KEY, V2, V3, ScriptedServer, answers


class Watch:
    """`flagstream watch` as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def error(self) -> str:
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            return (await self.process.stderr.readline()).decode().rstrip("\n")

    async def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        return await self.end()

    async def end(self) -> tuple[int, str]:
        async with asyncio.timeout(20):
            _, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


@asynccontextmanager
async def watching(*arguments: str) -> AsyncIterator[Watch]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "watch",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(PYTHONWARNINGS="error", COLUMNS="200", XDG_DATA_HOME="/nonexistent"),
    )
    watch = Watch(process)
    try:
        yield watch
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def until_watching(server: ScriptedServer) -> None:
    async with asyncio.timeout(20):
        while not server.streams:
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_each_change_is_one_line_as_it_comes_and_ctrl_c_ends_it_quietly() -> None:
    async with ScriptedServer() as server, watching(KEY, "--api-url", server.url) as watch:
        assert await watch.error() == f"flagstream: watching 1 feature at {server.url}, Ctrl-C to stop"
        await until_watching(server)
        server.announce(V2, banner={"colour": "blue"})
        assert re.fullmatch(
            r'\d\d:\d\d:\d\d\.\d{3}  banner  on  "a" → \{"colour": "blue"\}  ' + str(V2), await watch.line()
        )
        server.features["banner"] = (False, "ü")
        server.announce(V3)
        assert (await watch.line()).endswith(f'banner  on → off  {{"colour": "blue"}} → "ü"  {V3}')
        del server.features["banner"]
        server.announce(V3 + 1)
        assert (await watch.line()).endswith(f'banner  off → gone  "ü"  {V3 + 1}')
        assert await watch.stop() == (130, "")


@pytest.mark.asyncio
async def test_json_lines_hold_every_field_and_a_filter_keeps_the_others_out() -> None:
    async with ScriptedServer() as server:
        arguments = [KEY, "--stream-url", server.url, "--api-url", server.url, "--json", "--feature", "new"]
        async with watching(*arguments) as watch:
            assert (await watch.error()).endswith("; not there (yet): new")
            await until_watching(server)
            server.announce(V2, banner="not this one", new=[1, 2])
            line = json.loads(await watch.line())
            assert datetime.fromisoformat(line.pop("time")).utcoffset() == timedelta(0)
            assert line == {
                "feature": "new",
                "enabled": True,
                "old_enabled": False,
                "value": [1, 2],
                "old_value": None,
                "version": V2,
            }
            assert await watch.stop(signal.SIGTERM) == (0, "")


@pytest.mark.asyncio
async def test_a_server_that_is_away_is_said_once_and_waited_for() -> None:
    server = ScriptedServer()
    await server.listen()
    await server.close()
    async with watching(KEY, "--api-url", server.url) as watch:
        said = {await watch.error(), await watch.error()}
        assert any("flags could not be fetched (cannot reach the flags API: ConnectError" in line for line in said)
        assert any("the flag stream is down (ConnectError" in line for line in said)
        await server.listen()
        said = {await watch.error() for _ in range(3)}
        assert "flagstream: there is a stream again" in said
        assert any(line.startswith("flagstream: watching 1 feature") for line in said)
        server.announce(V2, banner="b")
        assert '"a" → "b"' in await watch.line()
        status, errors = await watch.stop()
        assert (status, errors) == (130, "")
    await server.close()


@pytest.mark.asyncio
async def test_ctrl_c_while_the_server_is_away_ends_it_quietly_too() -> None:
    server = ScriptedServer()
    await server.listen()
    await server.close()
    async with watching(KEY, "--api-url", server.url) as watch:
        await watch.error()
        status, errors = await watch.stop()
        assert status == 130
        assert "Traceback" not in errors


@pytest.mark.asyncio
async def test_a_reader_that_leaves_is_no_error() -> None:
    async with ScriptedServer() as server, watching(KEY, "--api-url", server.url) as watch:
        await watch.error()
        await until_watching(server)
        assert watch.process.stdout is not None
        watch.process.stdout._transport.close()  # type: ignore[attr-defined] # as `| head` does
        server.announce(V2, banner="b")
        status, errors = await watch.end()
        assert (status, errors) == (0, "")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["with.dot"], "flagstream: KEY must be 1 to 128 letters, digits, '-' or '_'"),
        (
            [KEY, "--api-url", "example.com"],
            "flagstream: --api-url must begin with http:// or https:// and name a host",
        ),
        ([KEY, "--stream-url", "ftp://x"], "flagstream: --stream-url must begin with http"),
        ([], "Missing argument 'KEY'"),
    ],
)
async def test_what_was_typed_wrong_is_named_and_exits_with_2(arguments: list[str], sentence: str) -> None:
    async with watching(*arguments) as watch:
        status, errors = await watch.end()
    assert status == 2
    assert sentence in errors
    assert "Traceback" not in errors


@pytest.mark.asyncio
async def test_a_key_that_the_server_does_not_know_exits_with_1_and_says_what_to_do() -> None:
    refused = answers(401, b'{"detail": "Invalid environment key"}')
    scripts = [refused] * 5
    async with ScriptedServer(document_scripts=scripts) as server, watching(KEY, "--api-url", server.url) as watch:
        status, errors = await watch.end()
    assert status == 1
    assert f"does not know the environment key '{KEY}'; copy it from the dashboard" in errors
    assert "Traceback" not in errors


@pytest.mark.asyncio
async def test_help_tells_every_option() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "flagstream",
        "watch",
        "--help",
        stdout=asyncio.subprocess.PIPE,
        env=environment(COLUMNS="200"),
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    for word in ("KEY", "--api-url", "--stream-url", "--feature", "--json", "8088", "Ctrl-C"):
        assert word in out.decode()
