"""`flagstream edge render varnish`: what it writes, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command import answer
from tests.edge.varnish import COMPILER
from tests.programs import environment
from tests.servers import missing

ROOT = Path(__file__).parent.parent.parent
CHECKED_IN = ROOT / "cdn" / "varnish"


def render(folder: Path, *options: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return answer("edge", "render", "varnish", str(folder), *options, env=environment(**settings))


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("varnishd") is None:
        missing("varnishd", "varnish")
    return subprocess.run(
        [folder / "start", "-C", "-j", "none", *COMPILER], capture_output=True, text=True, check=False
    )


def test_the_configuration_in_the_repository_is_the_one_of_the_defaults(tmp_path: Path) -> None:
    assert render(tmp_path / "edge").returncode == 0
    for name in ("flagstream.vcl", "policy.vcl", "site.vcl", "start"):
        assert (tmp_path / "edge" / name).read_text() == (CHECKED_IN / name).read_text(), name
        assert os.access(tmp_path / "edge" / name, os.X_OK) == os.access(CHECKED_IN / name, os.X_OK)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--origin", "127.0.0.1:1", "--origin", "[::1]:2", "--waiting-room", "localhost:3"],
        ["--waiting-room", ""],
        ["--origin", "127.0.0.1:1", "--origin", "127.0.0.1:2", "--waiting-room", ""],
    ],
)
def test_varnish_takes_what_is_written(tmp_path: Path, options: list[str]) -> None:
    done = render(
        tmp_path,
        *options,
        CDN_TIERS="10.0.0.0/8,::1",
        CDN_DOCUMENT_TTL="3600",
        STREAM_SERVER_LIFETIME="20",
        STREAM_SERVER_JOIN_WINDOW="10",
        STREAM_SERVER_HEARTBEAT="2.5",
    )
    assert done.returncode == 0, done.stderr
    assert checked(tmp_path).stdout == f"The configuration in {tmp_path} is valid.\n"
    site = (tmp_path / "site.vcl").read_text()
    assert ".between_bytes_timeout = 7.5s;" in site
    assert '"10.0.0.0"/8;' in site
    assert "set beresp.ttl = 3600s;" in site
    assert "-p send_timeout=50 " in (tmp_path / "start").read_text()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CDN_ORIGINS": "10.0.0.1"}, "origins: '10.0.0.1' is not HOST:PORT, as in 10.0.0.1:8088 or [::1]:8088"),
        ({"CDN_ORIGINS": ""}, "origins: must be 1 to 64 stream servers, each HOST:PORT"),
        ({"CDN_ORIGINS": "a:1,b:2,a:1"}, "origins: 'a:1' is there more than once"),
        ({"CDN_ORIGINS": "a:1", "CDN_WAITING_ROOM": "a:1"}, "waiting_room: 'a:1' is an origin"),
        ({"CDN_WAITING_ROOM": "a:99999"}, "waiting_room: 'a:99999' is not HOST:PORT"),
        ({"CDN_TIERS": "10.0.0.1/8"}, 'tiers: "10.0.0.1/8" has bits beyond its prefix; write 10.0.0.0/8'),
        ({"CDN_PURGERS": "everybody"}, 'purgers: "everybody" is no address and no network'),
        ({"CDN_DOCUMENT_MEMORY": "lots"}, "document_memory: 'lots' is no amount of memory; write it like 256m or 4g"),
        ({"CDN_DOCUMENT_MEMORY": "512k"}, "document_memory: '512k' is no amount of memory"),
        ({"CDN_HOST": "::1; reboot"}, "host: '::1; reboot' is no address or name of this machine"),
        ({"CDN_DRAIN_FILE": '/a"b'}, "drain_file: '/a\"b' is no absolute path without quotes and backslashes"),
        ({"CDN_ORIGIN": "a:1"}, "CDN_ORIGIN is not a setting; did you mean CDN_ORIGINS?"),
        ({"STREAM_SERVER_JOIN_WINDOW": "29"}, "join_window = 29: must be at most 28"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    tmp_path: Path, settings: dict[str, object], sentence: str
) -> None:
    done = render(tmp_path / "edge", **settings)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "edge").exists()


def test_a_check_prints_what_is_wrong_and_only_that(tmp_path: Path) -> None:
    assert render(tmp_path).returncode == 0
    with (tmp_path / "policy.vcl").open("a") as rules:
        rules.write("sub vcl_hash { retrun (lookup); }\n")
    done = checked(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "retrun" in done.stderr
    assert len(done.stderr.splitlines()) < 20


@pytest.mark.parametrize(("edge", "noted"), [("true", False), ("false", True)])
def test_stream_servers_that_are_not_for_an_edge_are_noted(tmp_path: Path, edge: str, noted: bool) -> None:
    done = render(tmp_path, STREAM_SERVER_EDGE=edge)
    assert done.returncode == 0
    assert ("the stream servers need edge = true" in done.stderr) is noted


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = render(tmp_path / "file" / "edge")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
