"""Operational control: what the knobs mean, how they are read, and the whole way from the API to a stream."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from publisher.messages import version_of
from stream_server.control import EVERYONE, Controls, LiveControls
from stream_server.knobs import UnreadableError, read_document, read_keys, read_percentages, read_seconds
from tests.programs import ADMIN_TOKEN, Program, environment, publisher, stream_server
from tests.servers import NatsServer, json_lines
from tests.stream_server.raw import Answer, open_stream, until

PING = b": ping\n\n"
FEATURE = "banner"


def test_everyone_is_every_environment_without_an_entry_but_the_one_of_the_controls() -> None:
    controls = Controls(
        killed=frozenset({EVERYONE}),
        intervals={"calm": 0.0, "slow": 5.0, EVERYONE: 2.0},
        shares={"one": 0.5, EVERYONE: 0.25},
        exempt="operations",
    )
    assert [controls.is_killed(key) for key in ("any", "operations")] == [True, False]
    assert [controls.interval(key) for key in ("calm", "slow", "any", "operations")] == [0.0, 5.0, 2.0, 0.0]
    assert [controls.shed(key) for key in ("one", "any", "operations")] == [0.5, 0.25, 0.0]


def test_environment_of_the_controls_is_controlled_where_it_is_named() -> None:
    controls = Controls(killed=frozenset({"operations"}), shares={"operations": 1.0}, exempt="operations")
    assert controls.is_killed("operations")
    assert not controls.is_killed("any")
    assert controls.shed("operations") == 1.0


def test_only_keys_whose_kill_switch_or_pace_differs_have_changed() -> None:
    before = Controls(killed=frozenset({"a", "b"}), intervals={"c": 1.0, "d": 2.0}, shares={"e": 1.0})
    after = Controls(killed=frozenset({"b", EVERYONE}), intervals={"c": 1.0, "d": 3.0, "f": 1.0}, shares={"e": 0.5})
    assert after.changed(before) == {"a", EVERYONE, "d", "f"}
    assert after.changed(after) == frozenset()


def test_live_controls_answer_by_the_last_set() -> None:
    live = LiveControls()
    assert live.shed("k") == 0.0
    live.controls = Controls(shares={"k": 0.1})
    assert live.shed("k") == 0.1


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (None, set()),
        ("", set()),
        (" , \n", set()),
        ("abc", {"abc"}),
        ("abc, d-e_f\n XYZ,,abc ", {"abc", "d-e_f", "XYZ"}),
        ("*", {"*"}),
        ("abc *", {"abc", "*"}),
    ],
)
def test_keys_are_separated_by_commas_or_spaces(value: object, keys: set[str]) -> None:
    assert read_keys(value) == keys


@pytest.mark.parametrize("value", ["a.b", "a=1", "**", "x" * 129, 5, True, ["abc"], {"abc": 1}, "schlüssel"])
def test_keys_that_cannot_be_read_are_refused(value: object) -> None:
    with pytest.raises(UnreadableError):
        read_keys(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, {}),
        ("a=2", {"a": 2.0}),
        ("a = 0.5, *=10  b=0", {"a": 0.5, "*": 10.0, "b": 0.0}),
        ("a=86400", {"a": 86400.0}),
    ],
)
def test_seconds_are_read_by_key(value: object, seconds: dict[str, float]) -> None:
    assert read_seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["KEY", "KEY=", "=1", "KEY=x", "KEY=-1", "KEY=nan", "KEY=1e3", "KEY=86401", "KEY=1,KEY=2", "KEY=1=2", "a.KEY=1", 3],
)
def test_seconds_that_cannot_be_read_are_refused_without_quoting_a_key(value: object) -> None:
    with pytest.raises(UnreadableError) as refused:
        read_seconds(value)
    assert "KEY" not in str(refused.value)


def test_percentages_are_shares() -> None:
    assert read_percentages("a=50, *=12.5%") == {"a": 0.5, "*": 0.125}
    for wrong in ("a=101", "a=%", "a=5%%"):
        with pytest.raises(UnreadableError):
            read_percentages(wrong)


def test_document_gives_the_values_of_flags_that_are_on() -> None:
    body = b"""[
        {"feature": {"id": 1, "name": "shed", "type": "STANDARD"}, "enabled": true, "feature_state_value": "a=1"},
        {"feature": {"id": 2, "name": "kill-switch"}, "enabled": false, "feature_state_value": "b"},
        {"feature": {"id": 3, "name": "other"}, "enabled": true, "feature_state_value": null}
    ]"""
    assert read_document(body) == {"shed": "a=1", "other": None}
    for wrong in (b"{}", b"[1]", b"", b"\xff", b'[{"feature": {"name": "shed"}, "enabled": "yes"}]'):
        with pytest.raises(UnreadableError):
            read_document(wrong)


@dataclass
class Installation:
    """A publisher with one environment to control and the reserved one, and a stream server that follows it."""

    folder: Path
    nats: NatsServer
    publisher: Program
    stream: Program
    key: str = ""
    operations: str = ""

    async def call(self, method: str, path: str, body: object = None) -> Any:
        async with httpx.AsyncClient(base_url=self.publisher.url, timeout=10) as client:
            headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            response = await client.request(method, path, json=body, headers=headers)
        assert response.is_success, response.text
        return response.json()

    async def project(self, name: str, *features: str) -> str:
        """Make a project with features that are off, and return the key of its environment."""
        project = await self.call("POST", "/api/projects", {"name": name})
        base = f"/api/projects/{project['id']}"
        environment = await self.call("POST", f"{base}/environments", {"name": "Production"})
        for feature in features:
            await self.call("POST", f"{base}/features", {"name": feature, "enabled": False, "value": ""})
        return str(environment["key"])

    async def change(self, value: str) -> int:
        """Change the flag of the controlled environment; return the new version."""
        state = await self.call("PATCH", f"/api/environments/{self.key}/features/{FEATURE}", {"value": value})
        return version_of(state["updated_at"])

    async def turn(self, knob: str, value: str, *, enabled: bool = True) -> None:
        """Turn a knob."""
        await self.call(
            "PATCH", f"/api/environments/{self.operations}/features/{knob}", {"enabled": enabled, "value": value}
        )

    def changes(self) -> int:
        """Count how often a process put new controls in force."""
        return len(self.logged("operational controls changed"))

    def logged(self, event: str) -> list[dict[str, object]]:
        return [line for line in json_lines(self.stream.output()) if line.get("event") == event]

    async def turned(self, knob: str, value: str, *, enabled: bool = True, workers: int = 1) -> None:
        """Turn a knob and wait until every worker has it."""
        before = self.changes()
        await self.turn(knob, value, enabled=enabled)
        await until(lambda: self.changes() >= before + workers, "the new controls")

    async def figure(self, line: str) -> float:
        async with httpx.AsyncClient(base_url=self.stream.url, timeout=10) as client:
            found = (await client.get("/metrics")).text
        (value,) = [each.split()[-1] for each in found.splitlines() if each.startswith(line)] or ["0"]
        return float(value)

    def follow(self, **settings: object) -> None:
        """Start the stream server."""
        chosen: dict[str, Any] = {
            "snapshot_dir": self.folder / "snapshot",
            "control_key": self.operations,
            "log_format": "json",
            "lifetime": 60,
            "heartbeat": 0.2,
            "drain": 0,
            **settings,
        }
        upstream = self.publisher.url
        self.stream = stream_server(self.folder, nats_url=self.nats.url, upstream_url=upstream, **chosen).start()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NatsServer, Program]]:
    """A broker and a publisher for all tests here; those that stop one start it again."""
    folder = tmp_path_factory.mktemp("control")
    nats = NatsServer(folder).start()
    managing = publisher(folder, nats_url=nats.url, database_url=f"sqlite:///{folder / 'flagstream.db'}").start()
    yield nats, managing
    for process in (managing.process, nats.process):
        if process.running:
            process.kill()


@pytest_asyncio.fixture
async def path(programs: tuple[NatsServer, Program], tmp_path: Path) -> AsyncIterator[Installation]:
    nats, managing = programs
    for started in programs:
        if not started.process.running:
            await asyncio.to_thread(started.start)
    installation = Installation(tmp_path, nats, managing, managing)
    installation.key = await installation.project(f"Shop of {tmp_path.name}", FEATURE)
    knobs = ("kill-switch", "brown-out", "shed")
    installation.operations = await installation.project(f"Controls of {tmp_path.name}", *knobs)
    yield installation
    if installation.stream is not managing and installation.stream.process.running:
        installation.stream.kill()


def manual() -> list[str]:
    """Return the shell blocks of the manual's section, without the lines that say where things are."""
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    section = text.partition("## Operational control\n")[2].partition("\n## ")[0]
    return [re.sub(r"(?m)^export .*\n", "", block) for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]


async def beats(stream: Answer, count: int) -> None:
    """See that nothing but heartbeats comes."""
    assert [await stream.chunk() for _ in range(count)] == [PING] * count


@pytest.mark.slow
@pytest.mark.asyncio
async def test_killed_environment_is_silent_on_every_worker_and_comes_back_with_the_newest(path: Installation) -> None:
    await asyncio.to_thread(path.follow, workers=2)
    before = await path.change("before")
    old = [await open_stream(path.stream.url, path.key) for _ in range(6)]
    for stream in old:
        assert (await stream.until(before))[-1] == before
    await path.turned("kill-switch", f"{path.key}, another", workers=2)
    await path.change("during")
    newest = await path.change("still during")
    new = [await open_stream(path.stream.url, path.key) for _ in range(6)]
    for stream in new:
        assert await stream.version() == 0, "the opening block says when to come back, and no version"
    for stream in (*old, *new):
        await beats(stream, 3)
    assert await path.figure('flagstream_controlled_environments{control="kill-switch"}') == 2
    await path.turned("kill-switch", "", enabled=False, workers=2)
    assert [await stream.version() for stream in (*old, *new)] == [newest] * 12
    assert await path.figure('flagstream_controlled_environments{control="kill-switch"}') == 0
    for stream in (*old, *new):
        await stream.close()
    assert path.key not in path.stream.output()
    assert path.operations not in path.stream.output()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_value_that_cannot_be_read_leaves_that_knob_as_it_is_and_the_others_free(path: Installation) -> None:
    await asyncio.to_thread(path.follow)
    await path.turned("kill-switch", "*")
    await path.turn("kill-switch", "a.key, that=cannot be")
    await path.turned("brown-out", f"{path.key}=0.5")
    assert await path.figure('flagstream_unreadable_controls_total{control="kill-switch"}') == 1
    async with await open_stream(path.stream.url, path.key) as stream:
        assert await stream.version() == 0
        newest = await path.change("unseen")
        await beats(stream, 3)
        async with await open_stream(path.stream.url, path.operations) as controls:
            assert await controls.version() > 0, "it is not one of all"
        await path.turned("kill-switch", "another")
        assert await stream.version() == newest
    (warning,) = [line for line in json_lines(path.stream.output()) if line.get("control") == "kill-switch"]
    assert warning["level"] == "warning"
    assert "that=" not in str(warning)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_brown_out_slows_one_environment_and_its_end_is_felt_at_once(path: Installation) -> None:
    await asyncio.to_thread(path.follow)
    await path.turned("brown-out", f"{path.key}=600")
    async with await open_stream(path.stream.url, path.key) as stream:
        await stream.version()
        first = await path.change("first")
        assert await stream.version() == first
        newest = await path.change("second")
        await beats(stream, 3)
        await path.turned("brown-out", f"*=600, {path.key}=0")
        assert await stream.version() == newest


@pytest.mark.slow
@pytest.mark.asyncio
async def test_kill_switch_outlives_a_restart_while_everything_else_is_away(path: Installation) -> None:
    await asyncio.to_thread(path.follow)
    version = await path.change("known")
    await path.turned("kill-switch", path.key)
    await asyncio.to_thread(path.stream.stop)
    path.publisher.kill()
    path.nats.kill()
    path.stream.start(ready=False)
    await until(lambda: path.changes() >= 2, "what the snapshot has")
    await until(lambda: len(path.logged("listening")) >= 2, "its listening")
    async with await open_stream(path.stream.url, path.key) as stream:
        assert await stream.version() == 0
        await beats(stream, 13)  # after 2 s without the broker other streams are told what the snapshot has
        await asyncio.to_thread(path.nats.start)
        await asyncio.to_thread(path.publisher.start)
        await path.turned("kill-switch", "", enabled=False)
        assert await stream.version() == version


@pytest.mark.slow
@pytest.mark.asyncio
async def test_controls_that_were_turned_while_the_upstream_was_away_are_followed_when_it_is_back(
    path: Installation,
) -> None:
    path.publisher.kill()
    await asyncio.to_thread(path.follow)
    async with await open_stream(path.stream.url, path.key) as stream:
        await stream.version()
        await asyncio.to_thread(path.publisher.start)
        await path.turned("kill-switch", "*")
        await path.change("unseen")
        await beats(stream, 3)
        assert await path.figure("flagstream_failed_control_readings_total") > 0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_commands_of_the_manual_make_the_environment_that_a_running_server_waits_for(path: Installation) -> None:
    path.operations = "operations-of-the-manual"
    await asyncio.to_thread(path.follow)
    make, turn = manual()
    kill, slow, lift = turn.splitlines()
    functions = make.partition("PROJECT=")[0]
    known = {
        "PUBLISHER": path.publisher.url,
        "TOKEN": ADMIN_TOKEN,
        "KEY": path.key,
        "CONTROL_KEY": path.operations,
    }

    async def run(script: str) -> None:
        command = ["bash", "-ec", functions + script]
        env = environment(**known)
        done = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    await run(make)
    version = await path.change("known")
    await run(kill)
    await until(lambda: path.changes() >= 1, "the kill switch")
    async with await open_stream(path.stream.url, path.key) as stream:
        assert await stream.version() == 0
        await run(slow)
        await run(lift)
        assert await stream.version() == version
    assert path.logged("operational controls changed")[-1]["brown_out"] == 2


@pytest.mark.slow
@pytest.mark.asyncio
async def test_shed_environment_answers_with_short_streams_and_others_with_streams(path: Installation) -> None:
    await asyncio.to_thread(path.follow)
    version = await path.change("known")
    await path.turned("shed", f"{path.key}=100")
    async with await open_stream(path.stream.url, path.key) as shed:
        assert float(shed.headers["x-stream-lifetime"]) < 60
        assert await shed.version() == 0
    async with await open_stream(path.stream.url, path.operations) as other:
        assert await other.version() > 0
    await path.turned("shed", f"{path.key}=0, *=100")
    async with await open_stream(path.stream.url, path.key) as stream:
        assert await stream.version() == version
