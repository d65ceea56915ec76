"""The stack of ``--local``: real programs, hurt part by part."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import typer

from flagstream.cli.data_folder import open_folder
from flagstream.cli.loadtest.local import LocalStack
from flagstream.cli.loadtest.local_figures import Total
from flagstream.cli.loadtest.local_parts import Parts
from flagstream.cli.loadtest.local_settings import environ_of
from flagstream.cli.stack import Ports, Stack
from flagstream.endings import ending
from flagstream.settings import SettingsError
from loadtest.scenario.schema import PARTS, Local
from loadtest.stack import Figures, StackError
from loadtest.stack import Stack as WantedStack
from tests.programs import is_alive
from tests.servers import missing, wait_until

LIFETIME = 60
"""Longer than a deploy takes where others are busy: its stream must not end by itself meanwhile."""
PROGRAMS = {
    "stream_server": "stream_server",
    "edge": "varnish",
    "waiting_room": "waiting_room",
    "publisher": "publisher",
    "nats": "nats",
    "redis": "redis",
}
in_module = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def _servers_are_there() -> None:
    for program, package in (("varnishd", "varnish"), ("redis-server", "redis-server")):
        if shutil.which(program) is None:
            missing(program, package)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[LocalStack]:
    """One of everything, shared: whoever hurts a part leaves it as it found it."""
    local = Local(workers=2, edge="varnish", redis=True, settings={"lifetime": LIFETIME, "join_window": 15})
    async with LocalStack(local, environments=3, clients=200) as running:
        yield running


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for what a local stack does beside the test."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.02)


async def until_ready(stack: LocalStack) -> None:
    """Wait until every program answers, and the stream server with all of its workers."""
    urls = [f"{url}/health/readiness" for url in (stack.publisher_url, *stack.urls.values())]
    async with httpx.AsyncClient(timeout=2) as client:

        async def ready() -> bool:
            try:
                return all([(await client.get(url)).is_success for url in urls])
            except httpx.TransportError:
                return False

        async with asyncio.timeout(30):
            while not (all(stack.pids().values()) and len(stack.pids()["stream_server"]) == 3 and await ready()):
                await asyncio.sleep(0.02)


async def told(stack: LocalStack, of: Callable[[Figures], bool] = lambda _: True) -> Figures:
    """Ask until every server answers in time, and tells what it is asked `of`: workers add up four times a second."""
    async with asyncio.timeout(30):
        while True:
            figures = await stack.figures()
            if None not in (figures.origin_requests, figures.edge_requests) and of(figures):
                return figures
            await asyncio.sleep(0.05)


async def opened(url: str, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream; return what is behind its head."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /sse/environments/{key}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert f"x-stream-lifetime: {LIFETIME}".encode() in head.lower(), "the scenario's settings apply"
    return reader, writer


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@in_module
async def test_it_has_what_was_asked_for(stack: LocalStack) -> None:
    as_wanted: WantedStack = stack
    assert set(as_wanted.urls) == {"origin", "edge"}
    assert {name: len(pids) for name, pids in stack.pids().items()} == {
        "nats": 1,
        "redis": 1,
        "publisher": 1,
        "stream_server": 3,
        "waiting_room": 1,
        "varnish": 2,
    }
    assert len({environment.key for environment in stack.environments}) == 3
    async with httpx.AsyncClient(timeout=10) as client:
        for environment in stack.environments:
            for url in stack.urls.values():
                flags = await client.get(f"{url}/api/v1/flags/", headers={"X-Environment-Key": environment.key})
                assert len(flags.raise_for_status().json()) == 3
            document = await client.get(
                f"{stack.urls['origin']}/api/v1/environment-document/",
                headers={"X-Environment-Key": environment.server_key},
            )
            assert len(document.raise_for_status().json()["feature_states"]) == 3


@in_module
async def test_streams_are_counted_on_both_sides_and_a_change_reaches_them(stack: LocalStack) -> None:
    before = await told(stack)
    assert before.origin_requests is not None
    assert before.edge_requests is not None
    assert before.edge_sent_on is not None
    key = stack.environments[0].key
    ways = ("origin", "origin", "edge", "edge", "edge")
    streams = await asyncio.gather(*(opened(stack.urls[way], key) for way in ways))
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.post(
            f"{stack.publisher_url}/sse/environments/{key}/queue-change",
            json={"updated_at": time.time()},
            headers={"Authorization": f"Token {stack.sse_token}"},
        )
    version = json.dumps(answer.raise_for_status().json()["updated_at"]).encode()
    async with asyncio.timeout(20):
        for reader, _ in streams:
            await reader.readuntil(version)
    figures = await told(stack, lambda now: (now.origin_streams or 0) >= 3 and (now.edge_clients or 0) >= 3)
    assert (figures.origin_streams, figures.edge_clients) == (3, 3)
    assert figures.origin_requests == before.origin_requests + 3
    assert figures.edge_requests == before.edge_requests + 3
    assert figures.edge_sent_on == before.edge_sent_on + 1, "three clients of one environment"
    for _, writer in streams:
        writer.close()
    await stack.kill("stream_server", 0)
    assert await stack.figures() is not None
    await until_ready(stack)
    after = await told(stack)
    assert (after.origin_requests or 0) >= figures.origin_requests, "the new one began at 0"


@in_module
async def test_each_worker_is_picked_in_its_turn_and_replaced_by_its_supervisor(stack: LocalStack) -> None:
    supervisor, *before = stack.pids()["stream_server"]
    await stack.kill("worker", 0)
    (left,) = [pid for pid in before if is_alive(pid)]
    await stack.kill("worker", 0)
    assert not is_alive(left), "not the one that has just been started"
    await until_ready(stack)
    assert stack.pids()["stream_server"][0] == supervisor
    with pytest.raises(StackError, match="cannot be kept down"):
        await stack.kill("worker", 1)
    with pytest.raises(StackError, match="there is no part 'database'"):
        await stack.kill("database", 0)


@in_module
async def test_what_is_killed_is_gone_at_once_and_started_again(stack: LocalStack) -> None:
    before = stack.pids()
    supervisor, *workers = before["stream_server"]
    parts = ("edge", "waiting_room", "publisher", "nats")
    for part in parts:
        await stack.kill(part, 0)
        assert not any(map(is_alive, before[PROGRAMS[part]]))
    await stack.kill("workers", 0)
    assert not any(map(is_alive, workers))
    await until_ready(stack)
    after = stack.pids()
    assert after["stream_server"][0] == supervisor
    assert not {pid for part in parts for pid in before[PROGRAMS[part]]} & {
        pid for part in parts for pid in after[PROGRAMS[part]]
    }


@in_module
async def test_what_is_ended_stays_down_as_long_as_asked(stack: LocalStack) -> None:
    before = stack.pids()["redis"]
    began = time.monotonic()
    await stack.stop("redis", 0.7)
    assert not [pid for pid in before if is_alive(pid)]
    await until(lambda: not stack.pids()["redis"], "its end to be noticed")
    with pytest.raises(StackError, match="redis does not run now"):
        await stack.kill("redis", 0)
    await until(lambda: stack.pids()["redis"], "its restart")
    assert time.monotonic() - began >= 0.7


@in_module
@pytest.mark.parametrize("part", ["worker", "edge"])
async def test_what_is_frozen_goes_on_after_its_time(stack: LocalStack, part: str) -> None:
    pids = stack.pids()[PROGRAMS.get(part, "stream_server")]
    freezing = asyncio.create_task(stack.freeze(part, 0.3))
    stopped = 1 if part == "worker" else len(pids)
    await until(lambda: sum(state(pid) == "T" for pid in pids) == stopped or freezing.done(), "the freeze")
    assert not freezing.done()
    await freezing
    await until(lambda: not any(state(pid) == "T" for pid in pids), "the thaw")
    assert list(stack.pids()[PROGRAMS.get(part, "stream_server")]) == list(pids)


@in_module
async def test_a_deploy_replaces_every_worker_and_ends_no_stream_before_its_time(stack: LocalStack) -> None:
    supervisor, *old = stack.pids()["stream_server"]
    _, writer = await opened(stack.urls["origin"], stack.environments[0].key)
    deploying = asyncio.create_task(stack.deploy())
    # One is held up by its stream.
    await until(lambda: sum(map(is_alive, old)) == 1 and len(stack.pids()["stream_server"]) >= 4, "the replacement")
    assert not deploying.done()
    writer.close()
    await deploying
    assert not any(map(is_alive, old))
    assert stack.pids()["stream_server"][0] == supervisor
    await until_ready(stack)


HOLDER = """
import asyncio, json, sys
from flagstream.cli.loadtest.local import LocalStack
from loadtest.scenario.schema import Local

async def main():
    async with LocalStack(Local(), environments=1) as stack:
        freezing = asyncio.create_task(stack.freeze("nats", 600))
        print(json.dumps(dict(stack.pids())), flush=True)
        await freezing

asyncio.run(main())
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a small stack whose broker it has frozen."""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env=env) as process:
        yield process
        process.kill()


def test_nothing_outlives_a_run_that_is_killed_not_even_what_it_froze(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None
    pids = json.loads(holder.stdout.readline())
    assert {name: len(each) for name, each in pids.items()} == {"nats": 1, "publisher": 1, "stream_server": 2}
    wait_until(lambda: state(pids["nats"][0]) == "T", "the freeze")
    holder.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for each in pids.values() for pid in each), "the end of every program")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"lifetime": "long"}, "local.settings.lifetime: 'long' is refused; it should be a valid number"),
        ({"lifetim": 3}, "local.settings.lifetim is not a setting; did you mean local.settings.lifetime?"),
        ({"workers": 3}, "local.settings.workers is not for a scenario to set: give local.workers"),
        ({"port": 3}, "local.settings.port is not for a scenario to set: the stack chooses it"),
        ({"join_window": 40}, "join_window = 40: must be at most 28"),
        ({"edge_tiers": {}}, "local.settings.edge_tiers: must be text, a number, true, false or a list"),
        ({"Lifetime": 3}, "local.settings.Lifetime is not a setting; they are written in small letters"),
    ],
    ids=["type", "unknown", "workers", "port", "rule", "table", "capital"],
)
def test_a_setting_that_cannot_be_is_named_before_anything_starts(
    settings: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as exited:
        LocalStack(Local(settings=settings), environments=1)
    assert exited.value.exit_code == 2
    assert sentence in capsys.readouterr().err


def test_settings_are_the_scenarios_and_nobody_elses() -> None:
    around = {"STREAM_SERVER_LIFETIME": "7", "CDN_CLIENTS": "5", "FLAGSTREAM_CONFIG": "/nowhere", "PATH": "/bin"}
    local = Local(edge="varnish", settings={"lifetime": 60, "trusted_proxies": ["10.0.0.1", "10.0.0.2"]})
    made = environ_of(local, around, clients=3000, environments=10)
    assert made["PATH"] == "/bin"
    assert "FLAGSTREAM_CONFIG" not in made
    assert made["STREAM_SERVER_LIFETIME"] == "60"
    assert made["STREAM_SERVER_TRUSTED_PROXIES"] == "10.0.0.1,10.0.0.2"
    assert made["STREAM_SERVER_DRAIN"] == "65", "no stream is cut by a deploy"
    assert made["CDN_CLIENTS"] == "3000"


def test_an_edge_that_the_system_lets_hold_fewer_clients_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"10000000 clients .* the hard limit is"):
        environ_of(Local(edge="varnish"), {}, clients=10_000_000, environments=1)


def test_a_part_that_this_stack_does_not_have_is_named_with_what_would_give_it_one(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    parts = Parts(Stack(folder, Ports(1, 2, 3), 1), workers=1)
    folder.close()
    for part, gives in (("redis", "redis = true"), ("edge", 'edge = "varnish"'), ("waiting_room", 'edge = "varnish"')):
        with pytest.raises(StackError, match=f"this stack has no {part}: give it {gives}"):
            parts.pids(part)
    assert {*PROGRAMS, "worker", "workers"} == set(PARTS)


def test_programs_that_died_are_told_of_in_the_order_in_which_they_did(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    stack = Stack(folder, Ports(1, 2, 3), 1)
    folder.close()
    stack.publisher.deaths.append((1.0, -signal.SIGKILL))
    stack.nats.deaths.append((2.0, 1))
    stack.publisher.deaths.append((3.0, -35))
    said = [f"{name} {ending(status)}" for name, status in stack.deaths()]
    assert said == [
        "publisher was killed by SIGKILL",
        "nats-server ended with status 1",
        "publisher was killed by signal 35",
    ]


@pytest.mark.asyncio
async def test_without_redis_server_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(typer.Exit):
        await LocalStack(Local(redis=True), 1, tmp_path).__aenter__()
    assert "redis-server is not installed: on Debian apt-get install redis-server" in capsys.readouterr().err


@pytest.mark.asyncio
async def test_a_program_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "flagstream.db").mkdir()
    with pytest.raises(StackError, match=r"(?s)publisher ended with status 1 .*unable to open database file") as failed:
        await LocalStack(Local(), 1, tmp_path).__aenter__()
    assert "it said:" in str(failed.value)


def test_a_total_goes_on_when_what_counts_begins_anew() -> None:
    total = Total()
    told = [total.add(*each) for each in ((5, "a"), (7, "a"), (2, "b"), (9, "b"), (12, "c"))]
    assert told == [5, 7, 9, 16, 28]
