"""What no client should send to the publisher: it is bounded as on the stream server, and nothing is logged of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flagstream.protocol import HEAD_LIMIT
from tests.programs import ADMIN_TOKEN, Program, publisher
from tests.servers import json_lines

HEALTH = b"GET /health/liveness HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("publisher")
    database = f"sqlite:///{folder / 'flagstream.db'}"
    started = publisher(folder, nats_url="nats://127.0.0.1:1", database_url=database).start()
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def quiet(running: Program) -> Iterator[None]:
    """Whatever a test sends, what is logged of it is nothing."""
    before = len(running.output())
    yield
    assert httpx.get(f"{running.url}/health/liveness", timeout=10).status_code == 200
    new = running.output()[before:]
    assert "Traceback" not in new
    assert not [line for line in json_lines(new) if "NATS" not in str(line["event"])]


def ask(running: Program, *data: bytes) -> bytes:
    """Send all of `data` and read until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", httpx.URL(running.url).port or 0), timeout=10) as client:
        try:
            for part in data:
                client.sendall(part)
            while part := client.recv(65536):
                answer += part
        except ConnectionError:
            return answer
    return answer


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
def test_an_endless_head_is_refused(running: Program, start: bytes) -> None:
    filler = b"X-A: b\r\n" if start.endswith(b"1.1\r\n") else b"a" * 8
    assert ask(running, start, filler * (HEAD_LIMIT // 8 + 1)).startswith(b"HTTP/1.1 431 ")


def test_a_head_that_stops_ends_with_408(running: Program) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(running.url).port or 0), timeout=30) as client:
        client.sendall(HEALTH[:-1])
        assert client.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_requests_that_are_sent_at_once_are_answered_in_order(running: Program) -> None:
    last = HEALTH[:-2] + b"Connection: close\r\n\r\n"
    answer = ask(running, HEALTH + HEALTH.replace(b"/health/liveness", b"/nothing/here") + last + HEALTH)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]
    assert answer.count(b"\r\nconnection: close\r\n") == 1


def test_what_is_no_request_is_refused_after_the_answer_to_the_one_before_it(running: Program) -> None:
    answer = ask(running, HEALTH, b"GARBAGE\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in answer


def test_malformed_requests_and_upgrades_are_answered(running: Program) -> None:
    assert ask(running, b"GARBAGE\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    upgrade = HEALTH[:-2] + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    assert ask(running, upgrade).startswith(b"HTTP/1.1 200 ")


def test_head_and_body_together_may_exceed_the_limit_of_heads(running: Program) -> None:
    padding = " " * (HEAD_LIMIT - 100)
    with httpx.Client(base_url=running.url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as client:
        for number in range(3):
            body = f'{{"name": "project {number}"{padding}}}'
            answer = client.post("/api/projects", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 201, answer.text


def test_a_half_closed_client_gets_its_answer(running: Program) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(running.url).port or 0), timeout=10) as client:
        client.sendall(HEALTH)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 ")
