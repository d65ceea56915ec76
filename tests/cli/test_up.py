from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.command import answer
from tests.programs import Up, environment, is_alive
from tests.servers import wait_until

pytestmark = pytest.mark.slow


def flags(up: Up) -> list[dict[str, object]]:
    key = up.stack["environment"]["key"]
    response = httpx.get(f"{up.stack['stream']}/api/v1/flags/", headers={"X-Environment-Key": key}, timeout=10)
    response.raise_for_status()
    return list(response.json())


def test_one_line_of_json_says_all_that_is_needed_to_use_it(tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--workers", "2") as up:
        stack = up.stack
        assert set(stack) == {"publisher", "stream", "nats", "admin_token", "sse_token", "environment", "pids"}
        for program, scheme in {"publisher": "http", "stream": "http", "nats": "nats"}.items():
            assert stack[program].startswith(f"{scheme}://127.0.0.1:")
        assert set(stack["pids"]) == {"publisher", "stream_server", "nats"}
        assert len(stack["pids"]["stream_server"]) == 3, "a supervisor and two workers"
        assert all(is_alive(pid) for pid in up.pids)
        (flag,) = flags(up)
        assert flag["enabled"] is True
        assert flag["feature_state_value"] == "a"
        assert flag["feature"]["name"] == stack["environment"]["feature"]  # type: ignore[index]
        assert stack["environment"]["server_key"].startswith("ser.")
        status, seconds, rest = up.stop()
        assert (status, rest) == (0, "")
        assert seconds < 10, "2 s on an idle machine; this one may be busy"
        assert not [pid for pid in up.pids if is_alive(pid)]
        assert not (tmp_path / "data" / "up.json").exists()


def test_two_run_side_by_side_and_do_not_touch_each_other(tmp_path: Path) -> None:
    home = environment(XDG_DATA_HOME=tmp_path)
    with Up(None, env=home, measured=False) as first, Up(None, env=home, measured=False) as second:
        assert not set(first.pids) & set(second.pids)
        assert first.stack["environment"]["key"] != second.stack["environment"]["key"]
        assert first.stack["admin_token"] != second.stack["admin_token"]
        first.toggle(value="changed")
        wait_until(lambda: flags(first)[0]["feature_state_value"] == "changed", "the change in the first")
        assert flags(second)[0]["feature_state_value"] == "a"
        first.stop()
        assert all(is_alive(pid) for pid in second.pids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flagstream", "flagstream-2"]


def test_what_was_changed_is_there_after_a_restart_and_the_demo_is_made_once(tmp_path: Path) -> None:
    with Up(tmp_path, measured=False) as up:
        before = up.stack
        up.toggle(enabled=False, value={"colour": "blue"})
    with Up(tmp_path) as up:
        assert up.stack["environment"] == before["environment"]
        assert up.stack["admin_token"] == before["admin_token"]
        (flag,) = flags(up)
        assert flag["enabled"] is False
        assert json.loads(str(flag["feature_state_value"])) == {"colour": "blue"}
        assert len(up.api("GET", "/api/projects")["items"]) == 1


def test_without_a_demo_it_starts_empty(tmp_path: Path) -> None:
    with Up(tmp_path / "a folder, 100%25 odd?", "--no-demo") as up:
        assert up.stack["environment"] is None
        assert up.api("GET", "/api/projects")["items"] == []


def test_a_program_that_is_killed_is_started_again(tmp_path: Path) -> None:
    def pids() -> dict[str, list[int]]:
        return dict(json.loads((tmp_path / "up.json").read_text())["pids"])

    with Up(tmp_path) as up:
        for program in ("publisher", "stream_server", "nats"):
            (victim,) = pids()[program]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: pids()[program] not in ([], [victim]), f"the restart of {program}")  # noqa: B023
            wait_until(lambda: works(up, f"after the kill of {program}"), "a change after the restart", 30)  # noqa: B023
        up.stack["pids"] = pids()
        up.stop()
        assert not [pid for pid in up.pids if is_alive(pid)]


def works(up: Up, value: str) -> bool:
    try:
        up.toggle(value=value)
        return flags(up)[0]["feature_state_value"] == value
    except httpx.HTTPError:
        return False


def test_its_programs_go_with_it_even_when_it_is_killed(tmp_path: Path) -> None:
    with Up(tmp_path, "--workers", "2") as up:
        up.stop(signal.SIGKILL)
        wait_until(lambda: not [pid for pid in up.pids if is_alive(pid)], "the end of every program")
    with Up(tmp_path) as up:
        assert flags(up)[0]["feature_state_value"] == "a"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["up", "--publisher-port", "{taken}"], 1, "port {taken} is in use by another program; give --publisher-port"),
        (["up", "--publisher-port", "0", "--data", "/proc/nothing"], 1, "the data folder /proc/nothing cannot be used"),
        (["up", "--workers", "0"], 2, "Invalid value for '--workers': Input should be greater than or equal to 1"),
        (["up", "--nats-port", "http"], 2, "Invalid value for '--nats-port': Input should be a valid integer"),
        (["toggle", "k", "f", "--data", "/nowhere"], 2, "no flagstream up runs here; give --url and --token"),
        (["toggle", "k", "f", "--url", "http://127.0.0.1:1", "--token", "t"], 1, "does not answer"),
        (["serve", "--port", "99999"], 2, "--port: 99999 is refused; it should be less than or equal to 65535"),
        (["manage", "--database-url", "mysql://x"], 2, "database_url: must begin with sqlite:/// or postgresql://"),
        (["toggle", "k", "f", "--value", "NaN"], 2, "--value cannot be sent as JSON: NaN is not a JSON number"),
        (["toggle", "k", "f", "--value", "1e400"], 2, "--value cannot be sent as JSON: Out of range"),
        (["toggle", "k", "f", "--value", "[" * 3000], 2, "--value cannot be sent as JSON: "),
        (["toggle", "k", "f", "--value", "9" * 5000], 2, "--value cannot be sent as JSON: "),
        (["toggle", "k", "f", "--value", "\udcff"], 2, "--value is not UTF-8 text"),
        (["toggle", "k", "f", "--url", "http://127.0.0.1:1", "--token", "é"], 2, "--token has characters that no"),
        (["toggle", "k", "f", "--url", "http://[", "--token", "t"], 2, "http://[ is not a URL"),
        (["up", "--stream-port", "7000", "--nats-port", "7000"], 2, "two of them have the same"),
        (["nonsense"], 2, "No such command 'nonsense'"),
    ],
)
def test_errors_say_what_to_do_in_a_sentence(tmp_path: Path, arguments: list[str], status: int, sentence: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = (argument.format(taken=port) for argument in arguments)
        done = answer(*words, env=environment(XDG_DATA_HOME=tmp_path, COLUMNS="200"))
    assert done.returncode == status, done.stderr
    assert sentence.format(taken=port) in done.stderr
    assert "Traceback" not in done.stderr


def test_toggle_finds_the_running_stack_and_flips_sets_and_refuses(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        demo = up.stack["environment"]

        def toggle(*arguments: str) -> subprocess.CompletedProcess[str]:
            return answer("toggle", *arguments, "--data", str(tmp_path))

        flipped = toggle(demo["key"], demo["feature"], "--json")
        assert flipped.returncode == 0, flipped.stderr
        assert json.loads(flipped.stdout)["enabled"] is False
        assert toggle(demo["key"], demo["feature"]).stdout.startswith(f'{demo["feature"]} is on, value "a", updated_at')
        state = json.loads(toggle(demo["key"], demo["feature"], "--off", "--value", "[1, 2]", "--json").stdout)
        assert (state["enabled"], state["value"]) == (False, [1, 2])
        assert json.loads(toggle(demo["key"], demo["feature"], "--value", "blue", "--json").stdout)["value"] == "blue"
        for missing in (toggle("no-such-key", demo["feature"]), toggle(demo["key"], "no-such-feature")):
            assert missing.returncode == 1
            assert missing.stderr.startswith("flagstream: ")
            assert "Traceback" not in missing.stderr
