"""The publisher as a process: how it starts, stops, and looks after its workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from publisher.workers import backoff
from tests.programs import ADMIN_TOKEN, Program, publisher
from tests.publisher.api.serving import NOWHERE
from tests.servers import wait_until

AUTH = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def program(folder: Path, **settings: Any) -> Program:
    database_url = f"sqlite:///{folder / 'flagstream.db'}"
    return publisher(folder, nats_url=NOWHERE, database_url=database_url, measured=True, **settings)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Program]:
    """One publisher of one process."""
    started = program(tmp_path).start()
    yield started
    if started.process.running:
        started.kill()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Program]:
    """A publisher of two workers."""
    started = program(tmp_path, workers=2).start()
    wait_until(lambda: len(serving(started)) == 2, "the start of two workers")
    yield started
    if started.process.running:
        started.kill()


def serving(started: Program) -> list[psutil.Process]:
    """Return the worker processes (multiprocessing has one more, its resource tracker)."""
    children = psutil.Process(started.process.pid).children()
    return [child for child in children if is_worker(child)]


def is_worker(child: psutil.Process) -> bool:
    try:
        return child.is_running() and "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # gone, or killed and not reaped yet
        return False


def make_project(started: Program, name: str) -> httpx.Response:
    return httpx.post(f"{started.url}/api/projects", json={"name": name}, headers=AUTH, timeout=10)


def test_sigterm_and_sigint_end_it_cleanly_and_soon_when_it_is_idle(tmp_path: Path) -> None:
    started = program(tmp_path)
    for number in (signal.SIGTERM, signal.SIGINT):
        started.start()
        assert make_project(started, f"project {number}").status_code == 201
        began = time.monotonic()
        assert started.process.stop(number) == 0
        assert time.monotonic() - began < 7  # idle it takes two and a half seconds; the drain setting is ten
        assert "Traceback" not in started.output()


def test_a_stopping_process_says_that_it_is_not_ready_before_it_stops_accepting(running: Program) -> None:
    new_connections = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=running.url, headers=AUTH, limits=new_connections, timeout=10) as client:
        assert client.get("/health").status_code == 200
        os.kill(running.process.pid, signal.SIGTERM)
        wait_until(lambda: client.get("/health").status_code == 503, "readiness to fail")
        assert client.post("/api/projects", json={"name": "late"}).status_code == 201  # for two seconds it accepts
    assert ended(running) == 0


def test_a_request_under_way_is_answered_before_it_stops(running: Program) -> None:
    port = int(running.url.rpartition(":")[2])
    body = json.dumps({"name": "late"}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"POST /api/projects HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
        # An answer on another connection shows that the loop has seen the first half.
        assert httpx.get(f"{running.url}/livez").is_success
        os.kill(running.process.pid, signal.SIGTERM)
        wait_until(lambda: not listens(port), "the end of listening")
        connection.sendall(body[5:])
        assert connection.recv(1000).startswith(b"HTTP/1.1 201")
    assert ended(running) == 0


def ended(started: Program) -> int:
    """Wait until it has ended by itself and return its status: another signal could find it half gone."""
    wait_until(lambda: not started.process.running, "the end")
    return started.process.stop()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_second_signal_stops_at_once(running: Program) -> None:
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /api/projects HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n")
        connection.sendall(f"Authorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
        assert httpx.get(f"{running.url}/livez").is_success
        os.kill(running.process.pid, signal.SIGTERM)
        wait_until(lambda: not listens(port), "the end of listening")
        began = time.monotonic()
        running.process.stop(signal.SIGTERM)
        assert time.monotonic() - began < 8  # the drain is ten seconds


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"database_url": "sqlite:////nowhere/at/all.db"}, "the database of database_url cannot be used"),
        ({"host": "192.0.2.1"}, "cannot listen on 192.0.2.1:"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    given: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path / 'f.db'}", **settings}
    failing = publisher(tmp_path, nats_url=NOWHERE, **given)
    failing.start(ready=False)
    assert ended(failing) == 1
    assert sentence in failing.output()
    assert "Traceback" not in failing.output()


def test_workers_share_the_port_and_one_that_dies_is_replaced(workers: Program) -> None:
    victim, other = serving(workers)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: make_project(workers, f"p{number}"), range(40)))
    assert {answer.status_code for answer in answers} == {201}
    victim.kill()
    wait_until(lambda: len(serving(workers)) == 2 and victim not in serving(workers), "a new worker")
    assert other in serving(workers)
    wait_until(lambda: make_project(workers, f"after {time.monotonic()}").status_code == 201, "an answer")
    assert "worker died, starting another" in workers.output()
    children = serving(workers)
    assert workers.stop() == 0
    assert not any(child.is_running() for child in children)
    assert "Traceback" not in workers.output()


def test_workers_end_when_their_supervisor_is_killed(workers: Program) -> None:
    children = serving(workers)
    workers.kill()
    wait_until(lambda: not any(alive(child) for child in children), "the end of the workers")


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_worker_that_keeps_dying_is_started_ever_more_slowly() -> None:
    assert [backoff(deaths) for deaths in (1, 2, 3, 4, 20)] == [0.0, 0.2, 0.4, 0.8, 10.0]


@pytest.mark.asyncio
async def test_two_publishers_on_one_database_keep_versions_growing(tmp_path: Path) -> None:
    pair = [program(tmp_path, name=f"publisher {number}").start() for number in range(2)]
    try:
        async with httpx.AsyncClient(headers=AUTH, timeout=20) as client:
            base = pair[0].url
            assert (await client.post(f"{base}/api/projects", json={"name": "p"})).status_code == 201
            body = {"name": "dev", "key": "dev"}
            assert (await client.post(f"{base}/api/projects/1/environments", json=body)).status_code == 201
            assert (await client.post(f"{base}/api/projects/1/features", json={"name": "f"})).status_code == 201

            async def toggle(number: int) -> float:
                url = f"{pair[number % 2].url}/api/environments/dev/features/f"
                answer = await client.patch(url, json={"value": number})
                assert answer.status_code == 200, answer.text
                updated_at: float = answer.json()["updated_at"]
                return updated_at

            seen = await asyncio.gather(*(toggle(number) for number in range(40)))
            assert len(set(seen)) == 40
            lines = (await client.get(f"{base}/api/changes?action=state.changed")).json()["items"]
            assert [line["updated_at"] for line in lines] == sorted(seen, reverse=True)
    finally:
        for each in pair:
            assert each.stop() == 0
