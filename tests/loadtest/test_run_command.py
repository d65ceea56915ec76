from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from flagstream.cli import app
from loadtest.scenario.reading import names
from tests.loadtest.scripted_http import Answer, ScriptedHttp, hang_up, plain, stream
from tests.programs import COMMAND, environment, is_alive
from tests.servers import free_port, wait_until

TINY = """
title = "A tiny storm"
seconds = 2
settle = 20
[local.settings]
lifetime = 4
join_window = 2
[environments]
count = 2
[clients]
count = 40
open_over = 0.5
[[clients.mix]]
model = "flagsmith-js"
[[clients.mix]]
model = "flagstream"
[publish]
rate = 4
start = 0.5
[[timeline]]
at = 1.0
do = "cut"
[thresholds]
"streams.clients" = "== 40"
"faults.1.lost" = ">= 1"
"lost" = "== 0"
"""


@pytest.fixture(autouse=True)
def nobody_elses_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLAGSTREAM_SSE_TOKEN", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """The command configures the logs of its process, which here is that of other tests, too."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [each for each in root.handlers if isinstance(each.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(handler)
    root.setLevel(level)
    structlog.reset_defaults()


def command(*words: str) -> Result:
    return CliRunner().invoke(app, ["loadtest", *words])


def tiny(tmp_path: Path, text: str = TINY) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(text)
    return str(path)


def test_the_list_has_every_scenario_with_what_it_tries() -> None:
    done = command("list")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(names())
    assert all("clients" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["storm"], "say where: --local, or --url"),
        (["storm", "--local", "--url", "http://127.0.0.1:1"], "say where: --local, or --url"),
        (["nowhere", "--local"], "nowhere: there is no such scenario"),
        (["storm", "--local", "--clients", "0"], "clients.count = 0 must be at least 1"),
        (["storm", "--local", "--seconds", "1"], "seconds = 1"),
        (["storm", "--local", "--key", "a"], "--key and --publish-url are of servers that are there"),
        (["fanout", "--url", "http://127.0.0.1:1"], "give the client-side key of an environment there with --key"),
        (["fanout", "--url", "http://127.0.0.1:1", "--key", "ser.x"], "--key ser.x is no client-side key"),
        (["fanout", "--url", "ftp://x", "--key", "a"], "'ftp://x' is not a URL of a server"),
        (["fanout", "--url", "http://x:y", "--key", "a"], "is not a URL"),
        (["storm", "--url", "http://127.0.0.1:1", "--key", "a"], "is to kill worker, which only --local can"),
        (["edge", "--url", "http://127.0.0.1:1", "--key", "a"], "give --edge-url"),
        (["soak", "--url", "http://127.0.0.1:1", "--key", "a"], "drift.rss.stream_server is known of a --local stack"),
        (["fanout", "--url", "http://127.0.0.1:1", "--workers", "2"], "are of a --local stack"),
        (["fanout", "--local", "--agent", "nohost"], "--agent nohost is no HOST:PORT"),
        (["fanout", "--local", *(2 * ["--agent", "127.0.0.1:1"])], "--agent 127.0.0.1:1 is given twice"),
        (["fanout", "--local", "--agent", "192.0.2.1:1"], "--agent 192.0.2.1:1 is on another host"),
        (["fanout", "--local", "--json", "/nonexistent/x.json"], "there is no folder /nonexistent"),
        (["fanout", "--local", "--json", "/proc/x.json"], "the folder /proc cannot be written to: No such file"),
        (["fanout", "--local", "--html", "/"], "--html / is a folder"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_said_in_a_sentence(words: list[str], fault: str) -> None:
    done = command("run", *words)
    assert done.exit_code == 2
    assert fault in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_every_fault_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tiny(tmp_path, TINY.replace("rate = 4", "rate = -4").replace('"cut"', '"kut"'))
    done = command("run", path, "--local")
    assert done.exit_code == 2
    assert f"flagstream: {path}:18: " in done.stderr
    assert f"flagstream: {path}:22: " in done.stderr


def remote(tmp_path: Path, url: str, *words: str) -> tuple[Result, dict[str, Any]]:
    """Run a scenario without faults against `url`."""
    file = tmp_path / "results.json"
    calm = tiny(tmp_path, TINY[: TINY.index("[[timeline]]")])
    done = command("run", calm, "--url", url, "--key", "a", "--quiet", "--json", str(file), *words)
    return done, json.loads(file.read_text())


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Serve in a thread of its own: the command has a loop of its own."""
    ready, urls, loops = threading.Event(), [], []

    async def serve() -> None:
        async with ScriptedHttp(answer) as server:
            urls.append(server.url)
            stop = asyncio.Event()
            loops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(20)
    try:
        yield urls[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (plain("404 Not Found"), "answers a stream with status 404"),
        (plain("503 Service Unavailable"), "answers a stream with status 503"),
        (plain("302 Found", "Location: https://a/"), "leads to https://a/ (status 302); give the URL behind it"),
        (plain("200 OK", "Content-Type: text/html"), "not with an event stream: its content type is text/html"),
        (plain("200 OK"), "not with an event stream: its content type is none"),
        (hang_up, "does not answer as HTTP servers do"),
    ],
    ids=["not_found", "failing", "redirecting", "a_page", "nothing_said", "hangs_up"],
)
def test_a_target_that_is_no_stream_server_fails_the_run_in_a_sentence(
    tmp_path: Path, answer: Answer, reason: str
) -> None:
    with answering(answer) as url:
        done, found = remote(tmp_path, url)
    assert done.exit_code == 1
    assert found["verdict"] == "failed"
    assert reason in found["reasons"][0]
    assert found["streams"]["opened"] == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}", "refuses connections; is the server running?"),
        ("https://127.0.0.1:{port}", "refuses connections; is the server running?"),
        ("http://name.invalid", "the name in http://name.invalid cannot be resolved"),
    ],
    ids=["refusing", "refusing_tls", "unknown"],
)
def test_a_target_that_is_not_there_fails_the_run_in_a_sentence(tmp_path: Path, url: str, reason: str) -> None:
    done, found = remote(tmp_path, url.format(port=free_port()))
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert (found["verdict"], len(found["reasons"])) == ("failed", 1)
    assert reason in found["reasons"][0]


def test_a_target_without_tls_is_told_apart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        _, found = remote(tmp_path, f"https://127.0.0.1:{listening.getsockname()[1]}")
        thread.join(20)
    assert "does not speak TLS as this machine trusts it" in found["reasons"][0]


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        ("401 Unauthorized", ["--token", "x"], "refuses this token"),
        ("404 Not Found", ["--token", "x"], "has no queue-change (status 404)"),
        ("500 Internal Server Error", ["--token", "x"], "fails (status 500)"),
        ("308 Permanent Redirect\r\nLocation: https://a/", ["--token", "x"], "leads to https://a/ (status 308)"),
        ("200 OK\r\nContent-Type: text/html", ["--token", "x"], "answers queue-change with a page (text/html)"),
        ("400 Bad Request", ["--token", "x\ny"], "--token has characters that no token has"),
        ("400 Bad Request", [], "a token is needed: give --token"),
    ],
    ids=["refused", "elsewhere", "failing", "redirecting", "a_page", "broken_token", "none"],
)
def test_a_publisher_that_takes_no_changes_fails_the_run_before_it_begins(
    tmp_path: Path, status: str, words: list[str], reason: str
) -> None:
    async def answer(line: str, content: str, writer: Any) -> None:
        streams = plain("200 OK", "Content-Type: text/event-stream")
        await (plain(status) if line.startswith("POST") else streams)(line, content, writer)

    with answering(answer) as url:
        done, found = remote(tmp_path, url, "--publish-url", url, *words)
    assert done.exit_code == 1
    assert reason in found["reasons"][0]


def run(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "loadtest", "run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONWARNINGS="error", COLUMNS="200"),
    )


@pytest.mark.timeout(120)
def test_a_local_storm_ends_with_a_verdict_a_page_and_results(tmp_path: Path) -> None:
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    process = run(tiny(tmp_path), "--local", "--rate", "5", "--json", str(json_file), "--html", str(html_file))
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, output + errors
    found = json.loads(json_file.read_text())
    assert found["verdict"] == "passed"
    assert found["streams"]["peak"] == 40
    assert found["faults"][0]["lost"] >= 1
    assert found["readmission"]["p99_s"] > 0
    assert found["delivery"]["count"] > 0
    assert found["publishing"]["accepted"] == found["publishing"]["planned"]
    assert (found["lost"], found["duplicates"], found["out_of_order"]) == (0, 0, 0)
    assert found["requests"]["origin"] > 0
    assert {"stream_server", "publisher", "nats"} <= {each["name"] for each in found["server"]}
    assert found["provenance"]["command"][:3] == ["flagstream", "loadtest", "run"]
    assert found["scenario"]["publish"]["rate"] == 5
    assert html_file.read_bytes().startswith(b"<!doctype html>")
    assert "cut 100 % of all connections" in errors
    assert "Passed" in output
    assert not list(tmp_path.glob(".*"))


@pytest.mark.timeout(120)
def test_an_interrupted_run_reports_what_was_measured(tmp_path: Path) -> None:
    json_file = tmp_path / "r.json"
    with answering(stream) as url:
        calm = tiny(tmp_path, TINY[: TINY.index("[[timeline]]")])
        process = run(calm, "--url", url, "--key", "a", "--seconds", "600", "--json", str(json_file))
        assert process.stderr is not None
        while "open 40 of 40" not in (line := process.stderr.readline()):
            assert line, process.communicate()
        generators = _children(process.pid)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    found = json.loads(json_file.read_text())
    assert found["verdict"] == "interrupted"
    assert found["streams"]["peak"] == 40
    assert "Interrupted" in output
    assert generators
    assert not any(map(is_alive, generators))


def test_a_terminal_that_closes_while_files_are_written_leaves_them_whole(tmp_path: Path) -> None:
    pipe = tmp_path / "page.html"
    os.mkfifo(pipe)
    calm = tiny(tmp_path, TINY[: TINY.index("[[timeline]]")])
    process = run(calm, "--url", f"http://127.0.0.1:{free_port()}", "--key", "a", "--html", str(pipe))
    with pipe.open("rb") as page:
        begin = page.read(1)  # the page is longer than a pipe holds: it is being written
        process.send_signal(signal.SIGHUP)
        content = begin + page.read()
    output, errors = process.communicate(timeout=60)
    assert content.rstrip().endswith(b"</html>")
    assert process.returncode == 1
    assert "Failed" in output
    assert "Traceback" not in errors


@pytest.mark.timeout(120)
def test_no_generator_outlives_a_conductor_that_is_killed(tmp_path: Path) -> None:
    with answering(stream) as url:
        calm = tiny(tmp_path, TINY[: TINY.index("[[timeline]]")])
        process = run(calm, "--url", url, "--key", "a", "--seconds", "600", "--processes", "2")
        assert process.stderr is not None
        while "open 40 of 40" not in (line := process.stderr.readline()):
            assert line, process.communicate()
        generators = _children(process.pid)
        process.kill()
        process.communicate()
    assert len(generators) == 2
    wait_until(lambda: not any(map(is_alive, generators)), "the end of the generators", 20)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_runs_are_compared_and_what_are_none_is_said(tmp_path: Path) -> None:
    _, found = remote(tmp_path, f"http://127.0.0.1:{free_port()}")
    file = tmp_path / "results.json"
    page = tmp_path / "compared.html"
    done = command("compare", str(file), str(file), "--html", str(page))
    assert done.exit_code == 0, done.output
    assert page.read_bytes().startswith(b"<!doctype html>")
    (tmp_path / "none.json").write_text(json.dumps({"format": 1}))
    done = command("compare", str(file), str(tmp_path / "none.json"))
    assert done.exit_code == 2
    assert "holds no results of a load test" in done.stderr
    (tmp_path / "newer.json").write_text(json.dumps({"format": 2, "verdict": "of another kind"}))
    done = command("compare", str(file), str(tmp_path / "newer.json"))
    assert done.exit_code == 2
    assert "has format 2; this version reads format 1" in done.stderr
    done = command("compare", str(file), str(tmp_path / "missing.json"))
    assert done.exit_code == 2
    assert "cannot be read: No such file" in done.stderr
    assert found["format"] == 1
