from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flagstream.settings import ProgramSettings, SettingsError, defaults, load
from publisher.settings import PublisherSettings
from stream_server.settings import StreamServerSettings

PROGRAMS: list[type[ProgramSettings]] = [PublisherSettings, StreamServerSettings]


def faults(
    model: type[ProgramSettings], environ: dict[str, str] | None = None, overrides: dict[str, object] | None = None
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(model, environ=environ or {}, overrides=overrides)
    return caught.value.faults


@pytest.mark.parametrize("model", PROGRAMS)
def test_the_defaults_are_valid_and_name_every_setting(model: type[ProgramSettings]) -> None:
    load(model, environ={})
    assert set(defaults(model)) == set(model.model_fields)


def test_a_site_file_is_merged_key_by_key_and_the_environment_wins_over_it(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[publisher]\nport = 1\n[stream_server]\nlifetime = 60\nheartbeat = 5\nnats_url = ["nats://a:1"]\n')
    environ = {"FLAGSTREAM_CONFIG": str(site), "STREAM_SERVER_HEARTBEAT": "7"}
    settings = load(StreamServerSettings, environ=environ)
    assert (settings.lifetime, settings.heartbeat, settings.join_window) == (60, 7, 20)
    assert settings.nats_url == ("nats://a:1",)
    assert load(PublisherSettings, environ=environ).port == 1
    assert load(StreamServerSettings, environ=environ, overrides={"heartbeat": 8}).heartbeat == 8


def test_lists_are_written_with_commas_in_the_environment() -> None:
    settings = load(PublisherSettings, environ={"PUBLISHER_NATS_URL": "nats://a:1, nats://b:2"})
    assert settings.nats_url == ("nats://a:1", "nats://b:2")


def test_every_fault_is_reported_at_once_and_by_its_name(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[stream_server]\nlifetim = 1\nport = 70000\n[streamserver]\n")
    found = faults(
        StreamServerSettings,
        {
            "FLAGSTREAM_CONFIG": str(site),
            "STREAM_SERVER_HEARTBEAT": "soon",
            "STREAM_SERVER_WORKER": "2",
        },
    )
    assert found == [
        f"{site}: [streamserver] is not a program; the tables are publisher, stream_server, cdn",
        f"{site}: [stream_server] lifetim is not a setting; did you mean lifetime?",
        "STREAM_SERVER_WORKER is not a setting; did you mean STREAM_SERVER_WORKERS?",
        f"{site}: [stream_server] port: 70000 is refused; it should be less than or equal to 65535",
        "STREAM_SERVER_HEARTBEAT: 'soon' is refused; it should be a valid number, unable to parse string as a number",
    ]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (
            {"lifetime": 10},
            (
                "join_window = 20: must be at most 8, which is lifetime less 1 s and 1 s a tier: "
                "`Age` is whole seconds, and who joins a stream at its end is ended at once"
            ),
        ),
        ({"lifetime": 22.5, "edge_tiers": 2}, "join_window = 20: must be at most 19.5"),
        ({"lifetime": 100, "drain": 105}, "max_events = 256: must be at least lifetime / min_interval + 2 = 402"),
        (
            {"max_bytes": 9000},
            "max_bytes = 9000: must be at least 9530, which 122 events (lifetime / min_interval + 2, ",
        ),
        (
            {"min_interval": 0, "heartbeat": 0.1, "max_bytes": 1024},
            "max_bytes = 1024: must be at least 5605, which 4 events",
        ),
        (
            {"edge": True, "drain": 34.9},
            (
                "drain = 34.9: must be at least lifetime + 5 = 35 with edge = true: "
                "what is open when the drain is over is cut"
            ),
        ),
        ({"edge": True, "lifetime": 40, "drain": 44}, "drain = 44: must be at least lifetime + 5 = 45"),
        ({"edge": True, "join_window": 0.9}, "join_window = 0.9: must be at least 1 with edge = true: CDNs count"),
        ({"waiting_for": ["http://a:1"]}, "waiting_for: must be empty without waiting_room = true"),
        ({"edge_guard": True}, "edge_guard: must be false without waiting_room = true"),
        (
            {"waiting_room": True, "waiting_for": ["a:1"]},
            "waiting_for: must begin with http:// or https://",
        ),
        (
            {"waiting_room": True, "lifetime": 2, "join_window": 0, "drain": 20},
            "lifetime = 2: must be at least 3 with waiting_room = true: 1 s to join a stream, 1 s and 1 s a tier",
        ),
        ({"waiting_room": True, "drain": 14}, "drain = 14: must be at least 15 with waiting_room = true"),
        (
            {"waiting_room": True, "streams_per_address": 1},
            "streams_per_address = 1: must be 0 with waiting_room = true",
        ),
        ({"control_key": "ser.abc"}, "control_key: must be the client-side key of an environment"),
        ({"heartbeat": 61}, "heartbeat: must be at most 60"),
        ({"upstream_url": "flags.example.com"}, "upstream_url: must begin with http:// or https://"),
        ({"nats_url": ["127.0.0.1:4222"]}, "nats_url: must begin with nats:// or tls://"),
        ({"nats_url": ["nats://["]}, "nats_url: is not a URL with a host and a port; write it like nats://HOST:PORT"),
        ({"redis_url": "redis://h:port/0"}, "redis_url: is not a URL with a host and a port"),
        ({"nats_credentials": "/no/such"}, "nats_credentials: there is no file /no/such"),
        ({"redis_url": "127.0.0.1"}, "redis_url: must begin with redis://"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values: dict[str, object], fault: str) -> None:
    (found,) = faults(StreamServerSettings, overrides=values)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"database_url": "mysql://x"}, "database_url: must begin with sqlite:/// or postgresql://"),
        ({"database_url": "postgresql://u:p@[/x"}, "database_url: is not a URL with a host and a port"),
        ({"public_stream_url": "http://a b;script-src *"}, "public_stream_url: has a character that no URL has"),
        ({"public_stream_url": "stream"}, "public_stream_url: must begin with http:// or https://"),
        ({"admin_token": "same", "sse_token": "same"}, "admin_token and sse_token: must differ"),
    ],
)
def test_publisher_settings_that_do_not_go_together_are_refused(values: dict[str, object], fault: str) -> None:
    (found,) = faults(PublisherSettings, overrides=values)
    assert found.startswith(fault)


def test_secrets_are_never_shown_and_never_quoted_in_a_fault() -> None:
    settings = load(PublisherSettings, overrides={"admin_token": "open-sesame"})
    assert settings.shown()["admin_token"] == "******"
    assert "open-sesame" not in repr(settings)
    assert "open-sesame" not in str(faults(StreamServerSettings, overrides={"redis_url": "open-sesame"}))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:hunter2@db/flags", "postgresql://******@db/flags"),
        ("postgresql://user:hunter2%2F%40x@db/flags", "postgresql://******@db/flags"),
        ("postgresql://db/flags?user=me&password=hunter2&ssl=require", "postgresql://db/flags?******"),
        ("sqlite:////srv/me@home/flags.db", "sqlite:////srv/me@home/flags.db"),
    ],
)
def test_a_url_is_shown_without_what_opens_it(url: str, shown: str) -> None:
    assert load(PublisherSettings, environ={}, overrides={"database_url": url}).shown()["database_url"] == shown


@pytest.mark.parametrize("model", PROGRAMS)
def test_the_urls_of_a_list_are_shown_without_what_opens_them(model: type[ProgramSettings]) -> None:
    settings = load(model, environ={}, overrides={"nats_url": ["nats://hunter2@a:1", "tls://u:hunter2@b"]})
    assert settings.shown()["nats_url"] == ("nats://******@a:1", "tls://******@b")


@pytest.mark.parametrize(
    "values",
    [
        {"database_url": "postgres://user:hunter2@db/flags"},
        {"nats_url": ["user:hunter2@a:1"]},
        {"nats_url": ["http://user:hunter2@a:1"]},
        {"nats_url": "nats://user:hunter2@a:1"},
        {"nats_url": [["nats://user:hunter2@a:1"]]},
        {"port": "tcp://user:hunter2@a:1"},
        {"admin_token": ["hunter2"]},
        {"admin_token": {"is": "hunter2"}},
    ],
)
def test_no_fault_quotes_a_secret_or_the_password_of_a_url(values: dict[str, object]) -> None:
    found = faults(PublisherSettings, overrides=values)
    assert found
    assert "hunter2" not in str(found)


def test_a_secret_of_the_wrong_type_is_not_quoted() -> None:
    assert faults(PublisherSettings, overrides={"admin_token": 20262026}) == ["--admin-token: should be a valid string"]


def test_a_kubernetes_service_link_is_recognised() -> None:
    (found,) = faults(PublisherSettings, {"PUBLISHER_PORT": "tcp://10.0.0.1:80"})
    assert "set enableServiceLinks: false" in found


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("[publisher", "is not TOML ("),
        ("publisher = 1", "must be"),
    ],
)
def test_a_site_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, fault: str) -> None:
    site = tmp_path / "site.toml"
    if content is not None:
        site.write_text(content)
    (found,) = faults(PublisherSettings, {"FLAGSTREAM_CONFIG": str(site)})
    assert str(site) in found
    assert fault in found


@pytest.mark.parametrize("model", PROGRAMS)
def test_each_default_carries_a_comment_that_explains_it(model: type[ProgramSettings]) -> None:
    text = (Path(__file__).parent.parent / model.program / "default.toml").read_text()
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key = next(iter(tomllib.loads(line)))
            assert len(line.partition("  # ")[2]) > 10, key
