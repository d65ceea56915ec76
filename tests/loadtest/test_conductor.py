from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loadtest.commission import Plan
from loadtest.conductor import conduct
from loadtest.dividing import apportioned, crowds, most_at_once, portion, processes_for
from loadtest.generators import GeneratorError
from loadtest.messages import Environment
from loadtest.progress import Progress
from loadtest.results import Results
from loadtest.scenario.schema import Scenario
from loadtest.servers import Servers
from loadtest.stack import Figures, StackError
from loadtest.verdict import status
from tests.loadtest.scripted_http import ScriptedHttp, plain, silence
from tests.programs import is_alive

SCRIPT = Path(__file__).parent / "scripted_generator.py"


def scenario(**changes: Any) -> Scenario:
    document: dict[str, Any] = {
        "title": "A test",
        "seconds": 0.6,
        "settle": 5.0,
        "clients": {"count": 9, "open_over": 0.1, "mix": [{"model": "flagsmith-js"}, {"model": "eventsource"}]},
        "publish": {"rate": 10.0, "start": 0.2},
        **changes,
    }
    return Scenario.model_validate(document)


@dataclass
class ScriptedStack:
    """Servers that are a script: what is done to them is written down."""

    publisher_url: str = ""
    sse_token: str = "secret"
    urls: Mapping[str, str] = field(default_factory=lambda: {"origin": "http://127.0.0.1:1"})
    environments: Sequence[Environment] = (Environment(key="a"), Environment(key="b"))
    done: list[str] = field(default_factory=list)
    requests: int = 100
    trouble: Sequence[str] = ()

    def pids(self) -> Mapping[str, Sequence[int]]:
        return {"stream_server": [os.getpid()]}

    def troubles(self) -> Sequence[str]:
        return self.trouble

    async def figures(self) -> Figures:
        self.requests += 10
        return Figures(origin_requests=self.requests, origin_streams=7)

    async def kill(self, part: str, down: float) -> None:
        self.done.append(f"kill {part} {down:g}")

    async def stop(self, part: str, down: float) -> None:
        raise StackError(f"there is no {part}, {down:g}")

    async def freeze(self, part: str, seconds: float) -> None:
        self.done.append(f"freeze {part} {seconds:g}")

    async def deploy(self) -> None:
        await asyncio.Event().wait()


def generators_of_ours() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [
        int(pid) for pid in children if is_alive(int(pid)) and SCRIPT.name in Path(f"/proc/{pid}/cmdline").read_text()
    ]


def orders(log: Path, kind: str) -> list[dict[str, Any]]:
    return [each for each in map(json.loads, log.read_text().splitlines()) if each["is"] == kind]


async def conducted(
    tmp_path: Path,
    wanted: Scenario,
    *,
    behaviour: str = "well",
    processes: int = 1,
    stack: ScriptedStack | None = None,
    stop: asyncio.Event | None = None,
) -> tuple[Results, Path]:
    log = tmp_path / "orders"
    log.touch()
    plan = Plan(
        name="test",
        scenario=wanted,
        processes=processes,
        command=(sys.executable, str(SCRIPT), str(log), behaviour),
        provenance={"moment": "now"},
    )
    progress = Progress(title=wanted.title, seconds=wanted.seconds, clients=most_at_once(wanted))
    return await conduct(plan, stack or ScriptedStack(), progress, stop or asyncio.Event()), log


@pytest.mark.parametrize(
    ("total", "shares", "counts"),
    [
        (10, [1, 1], [5, 5]),
        (10, [1, 1, 1], [4, 3, 3]),
        (7, [55, 10, 35], [4, 1, 2]),
        (1, [0.1, 0.1], [1, 0]),
        (15_000, [1 / 3, 1 / 3, 1 / 3], [5000, 5000, 5000]),
    ],
    ids=["even", "thirds", "percent", "one", "many"],
)
def test_shares_become_whole_clients_that_add_up(total: int, shares: list[float], counts: list[int]) -> None:
    assert apportioned(total, shares) == counts


def test_every_client_has_one_number_and_one_process() -> None:
    wave = {"at": 1, "do": "clients", "times": 3.0, "lasts": 2}
    wanted = scenario(seconds=9, clients={"count": 101, "mix": [{"model": "flagstream"}, {"model": "eventsource"}]})
    wanted = wanted.model_copy(update={"timeline": scenario(timeline=[wave, {**wave, "at": 2}]).timeline})
    made = crowds(wanted, ["origin", "edge"])
    assert [crowd.count for crowd in made] == [51, 50]
    assert [crowd.extra for crowd in made] == [(101, 101), (101, 101)]
    assert {crowd.target for crowd in made} == {1}
    numbers: list[int] = []
    for process in range(4):
        for crowd in made:
            part = portion(crowd, process, 4)
            numbers += range(part.group.first, part.group.first + part.group.count)
            assert part.group.count == part.count + sum(part.extra)
    assert sorted(numbers) == list(range(101 + 202 + 202))
    assert most_at_once(wanted) == 101 + 404  # the second wave comes while the first is there


def test_processes_are_as_many_as_files_and_cores_ask_for() -> None:
    assert processes_for(500, 20_000) == 1
    assert processes_for(3_000, 20_000) == min(2, os.cpu_count() or 1)
    assert processes_for(38_000, 20_000) == 2
    assert processes_for(38_001, 20_000) == 3
    assert processes_for(10_000, 1_400) == 10


@pytest.mark.asyncio
async def test_a_run_opens_publishes_hurts_and_judges(tmp_path: Path) -> None:
    wanted = scenario(
        timeline=[
            {"at": 0.15, "do": "kill", "part": "worker", "about": "x"},
            {"at": 0.35, "do": "clients", "times": 2.0, "over": 0.05, "lasts": 0.1},
            {"at": 0.5, "do": "rate", "times": 2.0, "lasts": 0.05},
            {"at": 0.55, "do": "cut", "share": 0.5},
        ],
        thresholds={"streams.peak": ">= 9", "lost": "== 0", "streams.lost.cut": ">= 1", "delivery.p99_ms": "<= 11"},
    )
    async with ScriptedHttp(plain("202 Accepted")) as publisher:
        stack = ScriptedStack(publisher.url)
        found, log = await conducted(tmp_path, wanted, stack=stack, processes=2)
    assert found.verdict == "passed", found.reasons
    assert status(found) == 0
    assert all(threshold.passed for threshold in found.thresholds)
    assert stack.done == ["kill worker 0"]
    first, second = orders(log, "Start")
    assert {first["process"], second["process"]} == {0, 1}
    assert first["epoch"] == second["epoch"]
    assert first["signature"] == second["signature"] >= 0
    opened = orders(log, "Open")
    assert sum(each["count"] for each in opened) == 9 + 9
    assert sum(each["count"] for each in orders(log, "Close")) == 9
    assert [each["fault"] for each in orders(log, "Mark")] in ([1, 1, 4, 4], [1, 4, 1, 4])
    assert all(each["received"] >= 0.15 for each in orders(log, "Mark"))
    assert {each["share"] for each in orders(log, "Cut")} == {0.5}
    told = [tuple(pair) for each in orders(log, "Published") for pair in each["versions"]]
    assert len(told) == 2 * found.publishing.accepted
    assert len(set(told)) == found.publishing.accepted == found.publishing.planned == len(publisher.requests)
    assert found.publishing.planned in {5, 6}
    assert found.streams.opened == 18
    assert found.streams.peak >= 9
    assert found.streams.at_end == 9
    assert [fault.what for fault in found.faults] == [
        "kill worker",
        "2 times as many clients within 0.05 s",
        "2 times the changes for 0.05 s",
        "cut 50 % of all connections",
    ]
    assert [fault.number for fault in found.faults] == [1, 2, 3, 4]
    assert found.requests.sent == 18
    assert found.requests.origin is not None
    assert found.requests.origin >= 10
    assert found.requests.origin_streams_peak == 7
    assert [process.name for process in found.server] == ["stream_server"]
    assert found.series.open[-1] == 9
    assert found.generator.processes == 2
    assert found.scenario["clients"]["count"] == 9
    assert "until" not in found.scenario["publish"]  # it is infinity, which JSON has not
    assert found.provenance == {"moment": "now"}


@pytest.mark.asyncio
async def test_servers_that_do_not_answer_at_once_are_asked_again_for_what_a_run_begins_and_ends_with() -> None:
    class HeldUp(ScriptedStack):
        asked = 0

        async def figures(self) -> Figures:
            self.asked += 1
            return Figures() if self.asked % 3 else await super().figures()

    servers = Servers(HeldUp())
    await servers.begin()
    assert servers.tell
    await servers.finish()
    assert servers.requests(sent=12).origin == 10


@pytest.mark.asyncio
async def test_a_threshold_that_does_not_hold_fails_the_run_and_says_by_how_much(tmp_path: Path) -> None:
    found, _ = await conducted(
        tmp_path, scenario(thresholds={"streams.peak": ">= 10", "delivery.p99_ms": "<= 1"}, publish={"rate": 0.0})
    )
    assert found.verdict == "failed"
    assert status(found) == 1
    assert found.reasons[0] == "streams.peak >= 10: it is 9"
    assert found.reasons[1].startswith("delivery.p99_ms <= 1: it is 10.")


@pytest.mark.asyncio
async def test_a_fault_that_cannot_be_done_fails_the_run_and_the_others_go_on(tmp_path: Path) -> None:
    failing = ["sh", "-c", "echo no such unit >&2; exit 1"]
    wanted = scenario(
        settle=20.0,
        timeline=[
            {"at": 0.1, "do": "stop", "part": "redis"},
            {"at": 0.2, "do": "run", "command": failing},
            {"at": 0.25, "do": "run", "command": ["/nonexistent/program"]},
            {"at": 0.3, "do": "freeze", "part": "worker", "down": 0.1},
        ],
    )
    stack = ScriptedStack()
    found, _ = await conducted(tmp_path, wanted, stack=stack)
    assert stack.done == ["freeze worker 0.1"]
    assert found.verdict == "failed"
    errors = [fault.error for fault in found.faults]
    assert errors[0] == "there is no redis, 0"
    assert errors[1].endswith("ended with status 1: no such unit")
    assert "cannot be run" in errors[2]
    assert found.reasons[0] == "could not stop redis: there is no redis, 0"


@pytest.mark.asyncio
async def test_a_fault_that_is_still_being_done_at_the_end_fails_the_run(tmp_path: Path) -> None:
    found, _ = await conducted(tmp_path, scenario(seconds=0.3, settle=0.1, timeline=[{"at": 0.1, "do": "deploy"}]))
    assert found.verdict == "failed"
    assert found.faults[0].error.endswith("s later, when the run ended")


@pytest.mark.asyncio
async def test_a_change_that_is_unanswered_at_the_end_has_failed(tmp_path: Path) -> None:
    async with ScriptedHttp(silence) as publisher:
        found, _ = await conducted(
            tmp_path,
            scenario(settle=0.1, thresholds={"publishing.failed": "== 0"}),
            stack=ScriptedStack(publisher.url),
        )
    assert found.publishing.errors == {"not answered before the end": found.publishing.sent}
    assert f"publishing.failed == 0: it is {found.publishing.sent}" in found.reasons


@pytest.mark.asyncio
async def test_a_part_that_ended_by_itself_fails_the_run_whatever_its_thresholds_say(tmp_path: Path) -> None:
    stack = ScriptedStack(trouble=["publisher was killed by SIGKILL by itself, and was started again"])
    found, _ = await conducted(tmp_path, scenario(publish={"rate": 0.0}), stack=stack)
    assert (found.verdict, found.reasons) == ("failed", list(stack.trouble))


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("dies", "ended with status 1: the script says so"),
        ("fails", "cannot go on: the script says so"),
        ("lies", "cannot be understood"),
    ],
)
@pytest.mark.asyncio
async def test_a_generator_that_fails_ends_the_run_with_its_last_words(
    tmp_path: Path, behaviour: str, words: str
) -> None:
    found, _ = await conducted(tmp_path, scenario(seconds=3600), behaviour=behaviour, processes=1)
    assert found.verdict == "failed"
    assert found.seconds < 60
    assert found.reasons[0].startswith("generator 0 (pid ")
    assert words in found.reasons[0]


@pytest.mark.asyncio
async def test_a_generator_that_cannot_be_started_is_said_so(tmp_path: Path) -> None:
    plan = Plan(name="test", scenario=scenario(), processes=1, command=("/nonexistent/program",))
    with pytest.raises(GeneratorError, match="generator 0 could not be started"):
        await conduct(plan, ScriptedStack(), Progress("", 1, 1), asyncio.Event())
    log = tmp_path / "orders"
    crowd = scenario(clients={"count": 2001})
    plan = Plan(name="test", scenario=crowd, processes=2, command=(sys.executable, str(SCRIPT), str(log), "well"))
    with pytest.raises(GeneratorError, match=r"can hold 1,000 streams .* and would need 1,001: give more --processes"):
        await conduct(plan, ScriptedStack(), Progress("", 1, 1), asyncio.Event())


@pytest.mark.parametrize(
    ("files", "clients", "reason"),
    [
        (256, 9, "may have only 256 files open, and a generator needs 400 for itself: raise the limit"),
        (410, 9_000, "9,000 clients take 900 processes of this host, where each may have 410 files open"),
    ],
    ids=["hardly_any_file", "few_files"],
)
@pytest.mark.asyncio
async def test_no_swarm_of_processes_is_started_for_want_of_files(
    files: int, clients: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.mustering.file_limit", lambda: files)
    plan = Plan(name="test", scenario=scenario(clients={"count": clients}), command=("/nonexistent/program",))
    with pytest.raises(GeneratorError, match=reason):
        await conduct(plan, ScriptedStack(), Progress("", 1, 1), asyncio.Event())


@pytest.mark.asyncio
async def test_an_interrupted_run_has_the_results_of_what_was_measured_and_leaves_no_generator(tmp_path: Path) -> None:
    stop = asyncio.Event()
    wanted = scenario(seconds=3600, thresholds={"streams.peak": ">= 9"})

    async def interrupt() -> None:
        while not (tmp_path / "orders").exists() or not orders(tmp_path / "orders", "Open"):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        stop.set()

    interrupting = asyncio.create_task(interrupt())
    found, _ = await conducted(tmp_path, wanted, stop=stop)
    await interrupting
    assert found.verdict == "interrupted"
    assert status(found) == 130
    assert found.streams.opened == 9
    assert found.thresholds[0].passed
    assert not generators_of_ours()
