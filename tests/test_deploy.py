"""The systemd units fit the settings that they run with."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from cdn.settings import CdnSettings
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
    [
        ("publisher", "manage", PublisherSettings),
        ("stream-server", "serve", StreamServerSettings),
        ("waiting-room", "serve --waiting-room --port 8089", StreamServerSettings),
    ],
)
def test_systemd_waits_longer_than_the_drain_lasts(name: str, command: str, model: type[ProgramSettings]) -> None:
    service = unit(name)["Service"]
    drain = float(vars(load(model, environ={}))["drain"])
    assert float(service["TimeoutStopSec"]) >= drain + 10
    assert service["ExecStart"] == f"/usr/bin/env flagstream {command}"
    assert service["Restart"] == "on-failure", "a program that a fault ended is started again, one that was stopped not"


def test_reload_reaches_a_supervisor_and_a_kept_socket_is_where_the_settings_say() -> None:
    for name in ("stream-server", "waiting-room"):
        assert unit(name)["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
        assert "Environment=STREAM_SERVER_SUPERVISED=true\n" in (UNITS / f"flagstream-{name}.service").read_text()
    socket = configparser.ConfigParser(strict=False, interpolation=None)
    socket.read(UNITS / "flagstream-stream-server.socket")
    settings = load(StreamServerSettings, environ={})
    assert socket["Socket"]["ListenStream"] == f"{settings.host}:{settings.port}"


@pytest.mark.parametrize("name", ["stream-server", "waiting-room"])
def test_what_holds_streams_may_open_a_descriptor_a_stream(name: str) -> None:
    assert int(unit(name)["Service"]["LimitNOFILE"]) >= 1_000_000


def test_the_waiting_room_is_where_the_edge_looks_for_it_and_depends_on_no_other_program() -> None:
    port = load(CdnSettings, environ={}).waiting_room.rpartition(":")[2]
    assert unit("waiting-room")["Service"]["ExecStart"].endswith(f" --port {port}")
    assert load(StreamServerSettings, environ={}).host == load(CdnSettings, environ={}).waiting_room.rpartition(":")[0]
    service = unit("waiting-room")["Unit"]
    assert "flagstream" not in f"{service['Wants']} {service['After']}"
