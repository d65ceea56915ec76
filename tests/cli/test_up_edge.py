"""`flagstream up --edge varnish`: the whole path with a real varnishd in front."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.command import answer
from tests.programs import COMMAND, Up, environment, is_alive
from tests.servers import missing, wait_until

pytestmark = pytest.mark.slow

EDGE = ("--edge", "varnish", "--edge-port", "0")


@pytest.fixture(autouse=True)
def _varnish_is_there() -> None:
    if shutil.which("varnishd") is None:
        missing("varnishd", "varnish")


@contextmanager
def listening(url: str, key: str) -> Iterator[socket.socket]:
    """Open a stream on a bare socket."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(f"GET /sse/environments/{key}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield client


def read_until(client: socket.socket, text: bytes) -> bytes:
    received = b""
    while text not in received:
        part = client.recv(65536)
        assert part, received
        received += part
    return received


def test_many_clients_at_the_edge_are_one_stream_at_the_origin(tmp_path: Path) -> None:
    with Up(tmp_path, *EDGE) as up, ExitStack() as clients:
        stack, key = up.stack, up.stack["environment"]["key"]
        assert set(stack["pids"]) == {"publisher", "stream_server", "nats", "waiting_room", "varnish", "edge_report"}
        assert stack["edge"].startswith("http://127.0.0.1:")
        opened = [clients.enter_context(listening(stack["edge"], key)) for _ in range(300)]
        for client in opened:
            read_until(client, b"retry: ")
        state = up.toggle(enabled=False)
        for client in opened:
            read_until(client, json.dumps(state["updated_at"]).encode())
        assert up.api("GET", f"/api/streams?environment={key}")["streams"][key] == 1
        flags = httpx.get(f"{stack['edge']}/api/v1/flags/", headers={"X-Environment-Key": key}).json()
        assert flags[0]["enabled"] is False
        status, seconds, _ = up.stop()
        assert status == 0
        assert seconds < 10, "2 s on an idle machine; this one may be busy"
        assert not [pid for pid in up.pids if is_alive(pid)]


def test_what_is_killed_is_started_again_and_changes_go_on(tmp_path: Path) -> None:
    def pids() -> dict[str, list[int]]:
        return dict(json.loads((tmp_path / "up.json").read_text())["pids"])

    with Up(tmp_path, *EDGE, measured=False) as up:
        for program in ("stream_server", "varnish", "waiting_room", "edge_report"):
            before = pids()[program]
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: bool(pids()[program]) and not set(pids()[program]) & set(before), program)  # noqa: B023
            wait_until(lambda: changes_go_on(up), f"a change after the restart of {program}", 30)
        up.stack["pids"] = pids()
        up.stop()
        assert not [pid for pid in up.pids if is_alive(pid)]


def changes_go_on(up: Up) -> bool:
    try:
        with listening(up.stack["edge"], up.stack["environment"]["key"]) as client:
            read_until(client, b"data: ")
            state = up.toggle(value=os.urandom(4).hex())
            client.settimeout(3)
            read_until(client, json.dumps(state["updated_at"]).encode())
    except (OSError, AssertionError):
        return False
    return True


def test_documents_that_the_edge_keeps_for_long_are_never_old(tmp_path: Path) -> None:
    with Up(tmp_path, *EDGE, env=environment(CDN_DOCUMENT_TTL=3600), measured=False) as up:
        key = up.stack["environment"]["key"]

        def kept() -> httpx.Response:
            return httpx.get(f"{up.stack['edge']}/api/v1/flags/", headers={"X-Environment-Key": key}, timeout=10)

        for number in range(5):
            kept()
            with listening(up.stack["edge"], key) as client:
                read_until(client, b"data: ")
                state = up.toggle(value=number)
                read_until(client, json.dumps(state["updated_at"]).encode())
            assert kept().json()[0]["feature_state_value"] == number
        wait_until(lambda: int(kept().headers["Age"]) > 0, "an answer from the edge's memory")


def test_watch_goes_through_the_edge_and_people_are_told_of_it(tmp_path: Path) -> None:
    ports = ("--publisher-port", "0", "--stream-port", "0", "--nats-port", "0")
    said = (tmp_path / "said").open("w+")
    command = [*COMMAND, "up", *ports, *EDGE, "--data", str(tmp_path / "data")]
    with said, subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL, env=environment(COLUMNS="200")) as up:
        try:
            wait_until(lambda: "Ctrl-C" in (tmp_path / "said").read_text(), "the greeting", 60)
            stack = json.loads((tmp_path / "data" / "up.json").read_text())
            greeting = (tmp_path / "said").read_text()
            assert f"Edge         {stack['edge']} (Varnish, in front of {stack['stream']})" in greeting
            assert f"curl -N {stack['edge']}/sse/environments/" in greeting
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(15)


def test_errors_of_the_edge_say_what_to_do(tmp_path: Path) -> None:
    def said(*arguments: str, **settings: object) -> tuple[int, str]:
        done = answer("up", "--data", str(tmp_path), *arguments, env=environment(COLUMNS="200", **settings))
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert said("--edge-port", "0") == (2, "flagstream: --edge-port without an edge: give --edge varnish as well\n")
    status, error = said("--edge", "akamai")
    assert status == 2
    assert "'akamai' is not" in error
    nothing = tmp_path / "bin"
    nothing.mkdir()
    (nothing / "nats-server").symlink_to(Path(sys.executable).parent / "nats-server")
    status, error = said(*EDGE, PATH=nothing)
    assert (status, error) == (
        1,
        "flagstream: varnishd is not installed: on Debian apt-get install varnish, or leave --edge out\n",
    )
    status, error = said(*EDGE, CDN_CLIENTS="few")
    assert status == 2
    assert "CDN_CLIENTS: 'few' is refused" in error
