from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest.agent import Agent
from loadtest.agent_line import Line, LineError
from loadtest.agent_messages import Enlist, Hello, Welcome
from loadtest.commission import Plan
from loadtest.conductor import conduct
from loadtest.generators import GeneratorError
from loadtest.messages import Environment, Ready, Unpacker
from loadtest.progress import Progress
from loadtest.scenario.schema import Scenario
from loadtest.targets import RemoteStack
from tests.loadtest.scripted_http import ScriptedHttp, stream
from tests.loadtest.test_conductor import SCRIPT, orders
from tests.programs import is_alive
from tests.servers import free_port

TOKEN = "secret"


@asynccontextmanager
async def serving(*command: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield an agent's address and what it says."""
    said: list[str] = []
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    agent = Agent(TOKEN, said.append, *([command] if command else ()))
    task = asyncio.create_task(agent.serve("127.0.0.1", 0, port.set_result))
    try:
        yield f"127.0.0.1:{await port}", said
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def scripted(tmp_path: Path, behaviour: str = "well") -> tuple[str, ...]:
    return sys.executable, str(SCRIPT), str(tmp_path / "orders"), behaviour


def plan(*agents: str, token: str = TOKEN, processes: int | None = None, **changes: Any) -> Plan:
    document = {"title": "x", "seconds": 0.6, "clients": {"count": 10, "open_over": 0.1}, "publish": {"rate": 0.0}}
    return Plan(
        name="test",
        scenario=Scenario.model_validate({**document, **changes}),
        agents=agents,
        token=token,
        processes=processes,
    )


async def conducted(wanted: Plan, url: str = "http://127.0.0.1:1") -> Any:
    stack = RemoteStack({"origin": url}, [Environment(key="a")])
    return await conduct(wanted, stack, Progress("", 1, 1), asyncio.Event())


async def line_to(address: str) -> Line:
    host, port = address.split(":")
    return Line(*await asyncio.open_connection(host, int(port)))


@pytest.mark.asyncio
async def test_generators_of_two_agents_hold_the_streams_of_one_run() -> None:
    async with ScriptedHttp(stream) as server, serving() as (first, _), serving() as (second, said):
        wanted = plan(first, second, processes=1, seconds=1.5, thresholds={"streams.peak": "== 10"})
        found = await conducted(wanted, server.url)
    assert found.verdict == "passed", found.reasons
    assert found.generator.processes == 2
    assert found.generator.streams_per_process_peak == 5
    assert found.streams.opened == 10
    assert found.generator.bytes_per_stream is None  # other hosts' processes cannot be weighed before the run
    assert 0 < found.delivery.clock_error_ms < 1000
    assert said[0].endswith("conducts")


@pytest.mark.asyncio
async def test_a_generators_clock_is_told_in_its_own_time(tmp_path: Path) -> None:
    async with serving(*scripted(tmp_path)) as (address, _):
        found = await conducted(plan(address, processes=1))
    (start,) = orders(tmp_path / "orders", "Start")
    # The script's clock is a thousand seconds ahead of ours.
    assert start["began"] - 1000 == pytest.approx(time.monotonic(), abs=60)
    assert start["epoch"] - 1000 == pytest.approx(time.monotonic() - time.time(), abs=1)
    assert len(orders(tmp_path / "orders", "Ping")) == 20
    assert found.delivery.clock_error_ms > 0


@pytest.mark.parametrize("token", ["", "secreT", "s" * 3000])
@pytest.mark.asyncio
async def test_who_does_not_know_the_token_conducts_nothing(tmp_path: Path, token: str) -> None:
    async with serving(*scripted(tmp_path)) as (address, said):
        with pytest.raises(
            GeneratorError, match=f"the agent at {address} refuses: it does not know this agent's token"
        ):
            await conducted(plan(address, token=token))
    assert "is refused" in said[0]
    assert not (tmp_path / "orders").exists()


@pytest.mark.asyncio
async def test_a_conductor_that_goes_because_another_agent_would_not_is_no_trouble_of_this_one(tmp_path: Path) -> None:
    async with serving(*scripted(tmp_path)) as (first, said), serving(*scripted(tmp_path)) as (second, _):
        busy = await line_to(second)
        busy.send(Hello(token=TOKEN))
        assert isinstance(await busy.receive(), Welcome)
        with pytest.raises(GeneratorError, match=f"the agent at {second} refuses: .* conducts already"):
            await conducted(plan(first, second))
        await busy.close()
    assert [sentence.split(" ", 1)[1] for sentence in said] == ["conducts", "has gone, and its generators with it"]


@pytest.mark.asyncio
async def test_a_stranger_cannot_make_an_agent_remember_much(tmp_path: Path) -> None:
    async with serving(*scripted(tmp_path)) as (address, said):
        for first in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x02\xc1\xc1", b"\x00\x01\x00\x00"):
            host, port = address.split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(first)
            async with asyncio.timeout(10):
                assert not await reader.read()  # hung up, without a word
            writer.close()
    assert len(said) == 3


@pytest.mark.asyncio
async def test_an_agent_works_for_one_conductor_at_a_time_and_kills_what_it_started_for_it(tmp_path: Path) -> None:
    async with serving(*scripted(tmp_path)) as (address, said):
        line = await line_to(address)
        line.send(Hello(token=TOKEN))
        assert isinstance(await line.receive(), Welcome)
        line.send(Enlist(generators=2))
        pids = []
        for _ in range(2):
            ready = await line.passed()
            pids += [message.pid for message in Unpacker().feed(ready.data) if isinstance(message, Ready)]
        with pytest.raises(GeneratorError, match="conducts already"):
            await conducted(plan(address))
        assert all(map(is_alive, pids))
        await line.close()
        async with asyncio.timeout(20):
            while any(map(is_alive, pids)) or not said[-1].endswith("has gone, and its generators with it"):
                await asyncio.sleep(0.01)
        line = await line_to(address)  # and then for the next one
        line.send(Hello(token=TOKEN))
        assert isinstance(await line.receive(), Welcome)
        await line.close()


@pytest.mark.asyncio
async def test_a_generator_that_dies_at_an_agent_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    async with serving(*scripted(tmp_path, "dies")) as (address, _):
        found = await conducted(plan(address, processes=1, seconds=3600))
    assert found.verdict == "failed"
    assert found.reasons[0].startswith(f"generator 0 at {address}: generator 0 (pid ")
    assert found.reasons[0].endswith("ended with status 1: the script says so")


@pytest.mark.asyncio
async def test_an_agent_that_cannot_start_generators_says_so() -> None:
    async with serving("/nonexistent/program") as (address, _):
        with pytest.raises(GeneratorError, match="generator 0 could not be started"):
            await conducted(plan(address))


@pytest.mark.asyncio
async def test_what_is_no_agent_is_told_apart() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(GeneratorError, match=rf"there is no agent at {address} \(Connection refused\): "):
        await conducted(plan(address))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            await writer.drain()
        finally:  # its task may be cancelled with the loop
            writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        with pytest.raises(GeneratorError, match=f"what listens at {address} is no agent"):
            await conducted(plan(address))


@pytest.mark.asyncio
async def test_an_agent_refuses_an_unknown_number_of_generators(tmp_path: Path) -> None:
    async with serving(*scripted(tmp_path)) as (address, _):
        line = await line_to(address)
        line.send(Hello(token=TOKEN))
        await line.receive()
        line.send(Enlist(generators=100_000))
        with pytest.raises(LineError):
            await line.receive()
        await line.close()
