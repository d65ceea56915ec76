"""The comparison of clients: what it says of a client is what that client did."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import pytest

from benchmarks import clients
from benchmarks.faulty.conducting import Outcome, conduct
from benchmarks.faulty.contenders import CONTENDERS, OURS, ROOT, TURNS, Contender
from benchmarks.faulty.phases import Phase, nothing
from benchmarks.faulty.verdict import Shown, busiest, missed, reached_at, stale
from benchmarks.faulty.wire import FEATURE, KEY, SERVER_KEY, Change
from benchmarks.faulty.world import World
from benchmarks.processes import EndedError
from benchmarks.rows.client_ends import WAYS, watched
from benchmarks.rows.client_faults import side_by_side
from loadtest.machine import tree
from publisher.messages import wire_number
from sdk_client import FlagClient

CHANGES = [Change(0, 10.0), Change(1, 12.0), Change(2, 13.0)]
OUTCOME = Outcome("a", "503", 1000, 5, 0, 400, 0.5, 4.25, None, 2, "deaf")


@pytest.mark.parametrize(
    ("shown", "begin", "end", "seconds"),
    [
        pytest.param([Shown(10, 0), Shown(12, 1), Shown(13, 2)], 11, 20, 0.0, id="always-there"),
        pytest.param([Shown(10, 0), Shown(12.5, 1), Shown(13.25, 2)], 11, 20, 0.75, id="a-little-later"),
        pytest.param([Shown(10, 0), Shown(14, 2)], 11, 20, 2.0, id="over-two-changes"),
        pytest.param([Shown(10, 0)], 11, 20, 8.0, id="never"),
        pytest.param([Shown(10, 0)], 11, 12.5, 0.5, id="only-within-the-stretch"),
        pytest.param([Shown(12, 1), Shown(13, 2), Shown(15, 1)], 14, 17, 2.0, id="back-to-an-older-one"),
        pytest.param([], 13, 14, 1.0, id="nothing-yet"),
    ],
)
def test_a_client_is_stale_while_it_shows_less_than_the_truth(
    shown: Sequence[Shown], begin: float, end: float, seconds: float
) -> None:
    assert stale(CHANGES, shown, begin, end) == pytest.approx(seconds)


def test_a_change_that_a_newer_one_overtook_is_not_missed() -> None:
    assert missed(CHANGES, [Shown(10, 0), Shown(14, 2)], 11, 20) == 0
    assert missed(CHANGES, [Shown(10, 0), Shown(14, 2)], 11, 13.5) == 2
    assert missed(CHANGES, [Shown(12, 1)], 11, 20) == 1
    assert missed(CHANGES, [], 12.5, 20) == 1, "those before the stretch do not count"


def test_a_change_is_reached_with_it_or_a_newer_one() -> None:
    assert reached_at(1, [Shown(10, 0), Shown(14, 2)]) == 14
    assert reached_at(3, [Shown(10, 0), Shown(14, 2)]) is None


def test_the_busiest_second_may_begin_at_any_request() -> None:
    assert busiest([]) == 0
    assert busiest([0.0, 0.9, 1.1, 1.2, 1.8, 5.0]) == 4


def test_a_table_names_what_was_lost() -> None:
    other = replace(OUTCOME, client="b", missed=0, fate="alive", current_after_s=0.5, streams=2, documents=0)
    assert side_by_side([asdict(OUTCOME), asdict(other)]).splitlines() == [
        "|  | a | b |",
        "| --- | --- | --- |",
        "| 503 | 1,005 · 4.2 s · 2 missed · **deaf** | 2 · 4.2 s |",
        "| **requests** | 1,005 | 2 |",
        "| **most in one second** | 400 | 400 |",
        "| **seconds stale** | 4.2 | 4.2 |",
        "| **changes missed** | 2 | 0 |",
        "| **deaf or dead after** | 1 of 1 phases | 0 of 1 phases |",
        "| **CPU s** | 0.5 | 0.5 |",
    ]


def test_the_newest_run_of_each_client_is_printed_as_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clients.main(["table", "--results", str(tmp_path)]) == 1
    older, other = replace(OUTCOME, streams=7), replace(OUTCOME, client="b", streams=15)
    runs = [{"lines": [asdict(older), asdict(other)]}, {"lines": []}, {"lines": [asdict(OUTCOME)]}]
    (tmp_path / "client-faults.json").write_text(json.dumps(runs))
    assert clients.main(["table", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "|  | a | b |"
    assert printed[2].startswith("| 503 | 1,005 · ")
    assert " | 20 · " in printed[2]


def test_the_go_client_is_named_after_the_version_that_it_is_built_of() -> None:
    module = (ROOT / "benchmarks" / "faulty" / "programs" / "flagsmith_go" / "go.mod").read_text()
    [version] = re.findall(r"flagsmith-go-client/v\d+ v(\d+\.\d+)", module)
    assert f"Flagsmith Go {version}" in CONTENDERS


def test_every_client_has_its_turn() -> None:
    assert sorted(name for turn in TURNS for name in turn) == sorted(CONTENDERS)
    assert set(OURS) <= set(CONTENDERS)


@pytest.mark.asyncio
async def test_documents_and_events_tell_the_same_truth() -> None:
    async with World() as world, httpx.AsyncClient(base_url=world.url) as http:
        async with http.stream("GET", f"/sse/environments/{KEY}/stream") as stream:
            lines = stream.aiter_lines()
            change = world.change()
            async with asyncio.timeout(30):
                while f'data: {{"updated_at": {wire_number(change.version)}}}' != (line := await anext(lines)):
                    assert line.startswith(("event: ", "data: ", "retry: ", ":")) or not line
        flags = await http.get("/api/v1/flags/")
        document = await http.get("/api/v1/environment-document/", headers={"X-Environment-Key": SERVER_KEY})
        again = await http.get("/api/v1/flags/", headers={"If-None-Match": flags.headers["etag"]})
    assert flags.json()[0]["feature_state_value"] == "1"
    assert flags.headers["x-flagstream-version"] == str(change.version)
    assert document.json()["feature_states"][0]["feature"]["name"] == FEATURE
    assert again.status_code == 304
    assert (len(world.stream_requests), len(world.document_requests)) == (1, 3)


@pytest.mark.asyncio
async def test_a_closed_port_opens_again_and_a_muted_stream_hears_nothing_more() -> None:
    async with World() as world, FlagClient(environment_key=KEY, api_url=world.url) as client:
        async with asyncio.timeout(30):
            while not world.streams:
                await asyncio.sleep(0.01)
        world.mute()
        world.change()
        world.end_streams()
        [stream] = world.streams
        assert stream.mute
        assert not stream.writer.is_closing()
        await world.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", world.port)
        await world.listen()
        async with asyncio.timeout(30):
            while client.value(FEATURE) != "1":
                await asyncio.sleep(0.01)


PROGRAM = """
import sys, time, httpx
base, sees = sys.argv[1], int(sys.argv[2])
while True:
    value = httpx.get(base + "/api/v1/flags/").json()[0]["feature_state_value"]
    if int(value) <= sees:
        print(time.time(), value, flush=True)
    with httpx.stream("GET", base + "/sse/environments/side-by-side/stream") as stream:
        for line in stream.iter_lines():
            if line.startswith("data"):
                break
    time.sleep(0.02)
"""


def program(name: str, sees: int) -> Contender:
    """A client that is blind to all after the first `sees` changes."""
    return Contender(name, lambda base: [sys.executable, "-c", PROGRAM, base, str(sees)], lambda: None)


@pytest.mark.asyncio
async def test_a_client_that_hears_no_more_is_found_out_and_one_that_follows_is_not(tmp_path: Path) -> None:
    short = Phase("short", nothing, changes=(0.1, 0.3), seconds=0.6, patience=0.5)
    lock = asyncio.Lock()
    before = set(tree(os.getpid()))
    [deaf], [well] = await asyncio.gather(
        conduct(program("deaf", sees=1), [short], tmp_path, lock),
        conduct(program("well", sees=10**9), [replace(short, patience=20.0)], tmp_path, lock),
    )
    assert (deaf.fate, deaf.missed, deaf.current_after_s) == ("deaf", 2, None)
    assert deaf.stale_s > 0.5
    assert (well.fate, well.missed) == ("alive", 0)
    assert well.documents > 0
    assert set(tree(os.getpid())) == before, "a benchmark leaves no process behind"


RETURNING = """
import sys
from http.client import HTTPConnection
host, keeps = sys.argv[1].removeprefix("http://"), sys.argv[2] == "keeps"
connection = HTTPConnection(host)
while True:
    connection.request("GET", "/sse/environments/side-by-side/stream")
    connection.getresponse().read()
    if not keeps:
        connection.close()
"""


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["keeps", "opens"])
async def test_a_return_is_timed_from_the_end_and_told_apart_by_its_connection(tmp_path: Path, how: str) -> None:
    client = Contender(how, lambda base: [sys.executable, "-c", RETURNING, base, how], lambda: None)
    for seconds in (0.2, 2.0, 20.0):
        returns = await watched(client, WAYS["instant end"], seconds, tmp_path / "log")
        if len(returns.waits) > 1:
            break
    assert len(returns.waits) > 1
    assert len(returns.asked) - 1 <= len(returns.ends) <= len(returns.asked)
    assert sum(returns.waits) <= returns.asked[-1][0] - returns.asked[0][0]
    assert returns.kept == (len(returns.asked) - 1 if how == "keeps" else 0)


@pytest.mark.asyncio
async def test_a_client_that_opens_no_stream_is_named(tmp_path: Path) -> None:
    client = Contender("nobody", lambda _: [sys.executable, "-c", "raise SystemExit('no idea')"], lambda: None)
    with pytest.raises(EndedError, match=r"nobody opened no stream: no idea"):
        await watched(client, WAYS["503"], 0.1, tmp_path / "log")


@pytest.mark.asyncio
async def test_a_crowd_tells_when_each_of_its_clients_held_a_change() -> None:
    async with World() as world:
        command = [sys.executable, "-m", "benchmarks.crowd_app", world.url, KEY, "own"]
        pipe = asyncio.subprocess.PIPE
        app = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
        assert app.stdin is not None
        assert app.stdout is not None

        async def tell(text: str) -> None:
            assert app.stdin is not None
            app.stdin.write(f"{text}\n".encode())
            await app.stdin.drain()

        async with asyncio.timeout(60):
            for text in ("open 3", "watch"):
                await tell(text)
                assert json.loads(await app.stdout.readline())["seconds"] >= 0
            world.change()
            await tell("held 1")
            assert len(json.loads(await app.stdout.readline())["times"]) == 3
            app.stdin.close()
            assert await app.wait() == 0
    assert len(world.stream_requests) == 3


def test_imports_are_timed_and_kept(tmp_path: Path) -> None:
    assert clients.main(["--results", str(tmp_path), "imports", "--rounds", "1"]) == 0
    [run] = json.loads((tmp_path / "client-imports.json").read_text())
    assert [line["import"] for line in run["lines"]][:2] == ["httpx", "sdk_client"]
    assert all(line["ms"] > 0 for line in run["lines"])
