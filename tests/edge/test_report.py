"""`flagstream edge report`: it counts clients and origin streams right, and outlives what it reports on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from cdn.report.figures import Figures
from cdn.report.watch import Watch
from cdn.settings import CdnSettings
from flagstream.settings import load
from publisher.edges import edge_counts
from publisher.messages import EDGES_SUBJECT, EdgeReply
from tests.broker.conftest import linked
from tests.edge.varnish import Varnish
from tests.programs import COMMAND, Program, environment, publisher, stream_server
from tests.servers import NatsServer, Process, free_port, json_lines, wait_until

UNITS = Path(__file__).parent.parent.parent / "deploy" / "systemd"


class Report:
    """A reporter as a process; `figures` are its metrics by name and labels."""

    def __init__(self, folder: Path, name: str, *options: str, path: str | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = environment() | ({} if path is None else {"PATH": path})
        command = [*COMMAND, "edge", "report", "--name", name, "--port", str(self.port), *options]
        self.process = Process(command, log=folder / "report.log", env=env)

    def start(self) -> Self:
        self.process.start()

        def answers() -> bool:
            assert self.process.running, self.process.output()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/metrics").is_success
            return False

        wait_until(answers, "the report's start")
        return self

    @property
    def figures(self) -> dict[str, float]:
        text = httpx.get(f"{self.url}/metrics").text
        return {
            "/".join([sample.name.removeprefix("flagstream_edge_"), *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def shows(self, **expected: float) -> None:
        def same() -> bool:
            found = self.figures
            return all(found.get(name) == value for name, value in expected.items())

        wait_until(same, f"{expected} in the report")

    @property
    def faults(self) -> dict[str, str]:
        answer = httpx.get(f"{self.url}/health")
        faults: dict[str, str] = answer.json()["faults"]
        assert answer.status_code == (503 if faults else 200)
        return faults


class Crowd:
    """Connections to one edge, closed together."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[socket.socket] = []

    def connect(self, count: int, path: str = "") -> None:
        """Open connections that ask for `path`, or say nothing."""
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self._port))
            self._open.append(client)
            if path:
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n".encode())

    def leave(self) -> None:
        while self._open:
            self._open.pop().close()


class World:
    """A publisher, a stream server behind a Varnish, and its report."""

    def __init__(self, folder: Path, nats: NatsServer) -> None:
        database = f"sqlite:///{folder / 'flagstream.db'}"
        self.publisher = publisher(folder, nats_url=nats.url, database_url=database)
        self.origin = stream_server(
            folder,
            nats_url=nats.url,
            upstream_url=self.publisher.url,
            edge="true",
            lifetime=60,
            heartbeat=0.5,
            drain=65,
        )
        self.waiting_room = stream_server(
            folder,
            nats_url=nats.url,
            upstream_url="http://127.0.0.1:1",
            name="other",
            edge="true",
            lifetime=60,
            heartbeat=0.5,
            drain=65,
        )
        self.varnish = Varnish(
            folder,
            streams={"lifetime": 60.0},
            origins=(self.origin.url.removeprefix("http://"),),
            waiting_room=self.waiting_room.url.removeprefix("http://"),
        )
        self.report = Report(folder, self.varnish.name, "--nats-url", nats.url)
        self.crowd = Crowd(self.varnish.port)

    @property
    def programs(self) -> list[Program]:
        return [self.publisher, self.origin, self.waiting_room]


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def whole_world(tmp_path_factory: pytest.TempPathFactory, nats: NatsServer) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("report"), nats)
    try:
        for program in world.programs:
            program.process.start()
        for program in world.programs:
            program.wait_ready()
        world.varnish.start()
        world.report.start()
        yield world
    finally:
        for process in [world.report.process, world.varnish.process, *(each.process for each in world.programs)]:
            if process.running:
                process.kill()


@pytest.fixture
def world(whole_world: World) -> Iterator[World]:
    yield whole_world
    whole_world.crowd.leave()
    whole_world.report.shows(clients=0)


def stream(key: str) -> str:
    return f"/sse/environments/{key}/stream"


def test_clients_and_origin_streams_are_counted_and_idle_connections_are_not(world: World) -> None:
    for key in ("a", "b", "c"):
        world.crowd.connect(40, stream(key))
    world.crowd.connect(20, "/health")
    world.crowd.connect(20)
    world.report.shows(up=1, clients=120, origin_streams=3, waiting_streams=0)
    found = world.report.figures
    assert found["backend_connections/origin_1/origin"] == 3
    assert found["backend_healthy/origin_1/origin"] == 1
    assert found["storage_used_bytes/streams"] > 0
    # Nobody probes the waiting room, and a health that is not known must not look like a bad one.
    assert "backend_healthy/waiting_room/waiting_room" not in found
    assert world.report.faults == {}
    world.crowd.leave()
    world.report.shows(clients=0)
    # Threads tell of a request when it is over.
    wait_until(lambda: world.report.figures["hits_total"] >= 117, "the hits")


async def counted(client: Client) -> list[EdgeReply]:
    """Ask until somebody answers in time, and return who does."""
    async with asyncio.timeout(30):
        while not (found := (await edge_counts(client, wait=1)).edges):
            continue
    return found


@pytest.mark.asyncio
async def test_every_edge_answers_over_nats_once(world: World, nats: NatsServer) -> None:
    world.crowd.connect(10, stream("a"))
    await asyncio.to_thread(world.report.shows, clients=10)
    # Varnish finishes a stream that it has begun, whoever is left.
    streams = int(world.report.figures["origin_streams"])
    assert streams in {1, 3}
    async with linked(nats.url) as link:
        await link.up.wait()
        found = await counted(link.client)
        edge = f"{socket.gethostname()}:{world.varnish.name}"
        assert found == [EdgeReply(edge, clients=10, origin_streams=streams, waiting_streams=0)]


@pytest.mark.asyncio
async def test_an_edge_counts_once_and_nonsense_does_not_count(nats_server: NatsServer) -> None:
    reply = EdgeReply("one", clients=5000, origin_streams=3, waiting_streams=0)

    async def answer(message: Msg) -> None:
        for payload in (b"nonsense", b"\xff", b'{"edge": "two"}', msgspec.json.encode(reply)):
            await message.respond(payload)

    async with linked(nats_server.url) as link:
        await link.up.wait()
        assert (await edge_counts(link.client, wait=3600)).edges == [], "NATS says at once that nobody listens"
        for _ in range(2):
            await link.client.subscribe(EDGES_SUBJECT, cb=answer)
        assert await counted(link.client) == [reply]
        nats_server.kill()
        while link.client.is_connected:
            await asyncio.sleep(0.01)
        assert (await edge_counts(link.client, wait=3600)).edges is None


def test_what_falls_over_to_the_waiting_room_is_told_apart(world: World) -> None:
    world.crowd.connect(10, stream("a"))
    world.report.shows(clients=10)
    world.origin.kill()
    try:
        world.report.shows(**{"clients": 0, "backend_healthy/origin_1/origin": 0})
        world.crowd.connect(30, stream("a"))
        world.report.shows(clients=30, origin_streams=0, waiting_streams=1)
        assert world.report.figures["backend_connections/waiting_room/waiting_room"] == 1
    finally:
        world.origin.start()
    world.report.shows(**{"backend_healthy/origin_1/origin": 1})


def test_a_varnish_that_goes_and_comes_is_told_and_survived(world: World) -> None:
    world.report.shows(up=1)
    restarts = world.report.figures["restarts_total"]
    wait_until(lambda: world.report.figures["uptime_seconds"] >= 3, "a time of some length")
    said_before = len(world.report.process.output())
    world.varnish.stop()
    try:
        world.report.shows(up=0)
        # Of one that is about to end its child may be missing first.
        wait_until(lambda: "running" in world.report.faults["varnish"], "the reason")
        found = world.report.figures
        assert "clients" not in found, "an edge that is away has no clients that anybody knows of"
        assert found["failed_readings_total"] >= 1
    finally:
        world.varnish.start()
    world.report.shows(up=1, restarts_total=restarts + 1)
    assert world.report.faults == {}
    log = world.report.process.output()[said_before:]
    said = [line["reason"] for line in json_lines(log) if line.get("event") == "Varnish cannot be read"]
    assert 1 <= len(said) == len(set(said)), "each reason is said once, not every second"
    assert "Varnish was restarted" in log


def serving_process(varnish: Varnish) -> int:
    parent = varnish.process.pid
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text())


@pytest.mark.asyncio
async def test_a_varnish_that_is_frozen_is_not_taken_to_be_well(tmp_path: Path) -> None:
    varnish = Varnish(tmp_path).start()
    watch = Watch(varnish.name, figures := Figures(CollectorRegistry()), still=1.5)
    watching = asyncio.create_task(watch.run())

    async def read(wanted: bool) -> None:
        async with asyncio.timeout(30):
            while (figures.counters is not None) != wanted:
                await asyncio.sleep(0.01)

    try:
        await read(True)
        os.kill(serving_process(varnish), signal.SIGSTOP)
        await read(False)
        assert "stands still" in watch.fault
        os.kill(serving_process(varnish), signal.SIGCONT)
        await read(True)
        assert not watch.fault
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        varnish.process.kill()


def test_a_report_starts_without_varnish_and_nats_and_stops_at_once(tmp_path: Path) -> None:
    report = Report(tmp_path, str(tmp_path / "none"), "--nats-url", "nats://127.0.0.1:1").start()
    report.shows(up=0)
    wait_until(lambda: "running" in report.faults["varnish"], "the reason")
    wait_until(lambda: "NATS cannot be reached" in report.process.output(), "a word about NATS")
    began = time.monotonic()
    assert report.process.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    assert "stopped" in report.process.output()
    assert "Traceback" not in report.process.output()


def test_a_missing_varnishstat_is_named(tmp_path: Path) -> None:
    report = Report(tmp_path, "edge", path=str(tmp_path)).start()
    wait_until(lambda: "in the package varnish" in report.faults["varnish"], "the reason")
    assert report.process.stop() == 0


def test_a_varnishstat_that_hangs_or_babbles_is_survived_and_ended(tmp_path: Path) -> None:
    fake = tmp_path / "varnishstat"
    fake.write_text("#!/bin/sh\necho '{}'\n")
    fake.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    report = Report(tmp_path, "edge", path=path).start()
    wait_until(lambda: "printed something else" in report.faults["varnish"], "the reason")
    child = tmp_path / "child"
    fake.write_text(f"#!/bin/sh\necho $$ > {child}\nexec sleep 60\n")
    wait_until(child.exists, "a call that hangs")
    wait_until(lambda: "did not answer within 2 s" in report.faults["varnish"], "the reason")
    pid = int(child.read_text())
    assert report.process.stop() == 0
    assert not Path(f"/proc/{pid}").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        report = Process(
            [*COMMAND, "edge", "report", "--name", "edge", "--port", str(port)],
            log=tmp_path / "report.log",
            env=environment(),
        ).start()
        wait_until(lambda: not report.running, "its end")
    assert f"cannot listen on 127.0.0.1:{port}" in report.output()
    assert "Traceback" not in report.output()


def test_the_unit_reports_on_the_varnish_of_the_other_unit() -> None:
    units = {name: (UNITS / f"flagstream-{name}.service").read_text().splitlines() for name in ("edge", "edge-report")}
    name = load(CdnSettings, environ={}).varnish_name
    assert any(line.startswith("ExecStart=") and line.endswith(f" -n {name}") for line in units["edge"])
    assert "ExecStart=/usr/bin/env flagstream edge report" in units["edge-report"]
    # Varnish lets nobody else read its counters.
    assert "SupplementaryGroups=varnish" in units["edge-report"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CDN_NATS_URL": "http://a:1"}, "nats_url: must begin with nats:// or tls://"),
        ({"CDN_NATS_CREDENTIALS": "/none"}, "nats_credentials: there is no file /none"),
        ({"CDN_REPORT_PORT": "70000"}, "CDN_REPORT_PORT: '70000' is refused"),
        ({"CDN_VARNISH_NAME": ""}, "CDN_VARNISH_NAME: '' is refused"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, str], sentence: str) -> None:
    done = subprocess.run(
        [*COMMAND, "edge", "report"], env=environment() | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
