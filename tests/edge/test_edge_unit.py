"""The systemd unit of the edge: its numbers fit the settings, and its commands do what it says."""

from __future__ import annotations

import configparser
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from flagstream.settings import load
from stream_server.settings import StreamServerSettings
from tests.edge.varnish import Varnish

UNIT = Path(__file__).parent.parent.parent / "deploy" / "systemd" / "flagstream-edge.service"


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT)
    return parser["Service"]


class SlowStream:
    """An origin that answers every request with a stream, and goes on when it is told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._go_on = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._go_on.set()
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._thread.join()

    def go_on(self) -> None:
        self._go_on.set()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                if not self._serve(connection):
                    return

    def _serve(self, connection: socket.socket) -> bool:
        head = connection.recv(65536)
        if b"/health/readiness" in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return True
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: s-maxage=20\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n"
        )
        self._go_on.wait(20)
        connection.sendall(b"5\r\nlast\n\r\n0\r\n\r\n")
        return False


def test_stopping_waits_until_every_stream_has_reached_its_end() -> None:
    lifetime = load(StreamServerSettings, environ={}).lifetime
    found = re.search(r"touch (\S+); sleep (\d+)", service()["ExecStop"])
    assert found is not None
    assert found[1] == "/run/flagstream-edge/draining"
    assert float(found[2]) >= 2 * lifetime + 5
    assert float(service()["TimeoutStopSec"]) >= float(found[2]) + 10
    assert service()["RuntimeDirectory"] == "flagstream-edge"
    assert int(service()["LimitNOFILE"]) >= 1_000_000


def test_a_reload_takes_new_rules_and_leaves_running_streams_alone(tmp_path: Path) -> None:
    origin = SlowStream()
    edge = Varnish(tmp_path, origins=(origin.address,))
    command = service()["ExecReload"].replace("/etc/flagstream/edge", str(edge.folder))
    command = command.replace("/run/flagstream-edge/varnish", edge.name)
    with origin.running():
        edge.start()
        try:
            with httpx.stream("GET", f"{edge.url}/sse/environments/k/stream", timeout=20) as stream:
                lines = stream.iter_lines()
                assert next(lines) == "first"
                rules = edge.folder / "policy.vcl"
                rules.write_text(rules.read_text().replace("There is nothing at this path", "Nothing is here"))
                subprocess.run(command.split(), check=True, capture_output=True)
                assert "Nothing is here" in httpx.get(f"{edge.url}/elsewhere").text
                origin.go_on()
                assert list(lines) == ["last"]
        finally:
            edge.stop()


@pytest.mark.parametrize("path", ["/health", "/health/readiness", "/health/readiness/"])
def test_a_draining_edge_is_not_ready_closes_connections_and_goes_on_serving(tmp_path: Path, path: str) -> None:
    edge = Varnish(tmp_path, origins=("127.0.0.1:1",)).start()
    try:
        with httpx.Client(base_url=edge.url) as client:
            assert client.get(path).status_code == 200
            Path(edge.settings.drain_file).touch()
            assert client.get(path).status_code == 503
            assert client.get("/health/liveness").status_code == 200
            stream = client.get("/sse/environments/k/stream")
            assert stream.status_code == 200
            assert stream.headers["Connection"] == "close"
    finally:
        edge.stop()
