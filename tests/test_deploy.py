"""The systemd units fit the settings that they run with."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from flagstream.settings import ProgramSettings, load
from publisher.settings import PublisherSettings
from stream_server.settings import StreamServerSettings

UNITS = Path(__file__).parent.parent / "deploy" / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNITS / f"flagstream-{name}.service")
    return parser


@pytest.mark.parametrize(
    ("name", "command", "model"),
    [("publisher", "manage", PublisherSettings), ("stream-server", "serve", StreamServerSettings)],
)
def test_systemd_waits_longer_than_the_drain_lasts(name: str, command: str, model: type[ProgramSettings]) -> None:
    service = unit(name)["Service"]
    drain = float(vars(load(model, environ={}))["drain"])
    assert float(service["TimeoutStopSec"]) >= drain + 10
    assert service["ExecStart"] == f"/usr/bin/env flagstream {command}"
    assert service["Restart"] == "on-failure", "a program that a fault ended is started again, one that was stopped not"


def test_reload_reaches_a_supervisor_and_a_kept_socket_is_where_the_settings_say() -> None:
    service = unit("stream-server")["Service"]
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert "Environment=STREAM_SERVER_SUPERVISED=true\n" in (UNITS / "flagstream-stream-server.service").read_text()
    socket = configparser.ConfigParser(strict=False, interpolation=None)
    socket.read(UNITS / "flagstream-stream-server.socket")
    settings = load(StreamServerSettings, environ={})
    assert socket["Socket"]["ListenStream"] == f"{settings.host}:{settings.port}"


def test_the_stream_server_may_open_a_descriptor_a_stream() -> None:
    assert int(unit("stream-server")["Service"]["LimitNOFILE"]) >= 1_000_000
