"""Every row of the benchmark in its short form: it runs, finds no fault, and says what it is meant to say."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import plot, streams
from loadtest.machine import tree
from tests.programs import is_alive
from tests.servers import Process, missing, wait_until

SHORT = {
    "deliver": ["--streams", "100", "--rounds", "3", "--servers", "ours", "floor", "plain"],
    "memory": ["--streams", "100", "--servers", "floor"],
    "open": ["--streams", "60", "--rounds", "2", "--servers", "ours", "floor"],
    "storm": ["--streams", "200", "--rounds", "2", "--servers", "ours", "floor"],
    "restart": ["--streams", "200", "--rounds", "1"],
    "fair": ["--streams", "200", "--small", "20", "--rounds", "3"],
    "hold": ["--streams", "400", "--workers", "2", "--rounds", "2"],
    "slow": ["--streams", "50", "--readers", "20", "--rounds", "10", "--flood", "50"],
    "churn": ["--opens", "3000", "--at-once", "100", "--seconds", "20"],
    "soak": ["--streams", "50", "--seconds", "3", "--period", "1.5"],
}
FIGURES = {
    "deliver": "CPU µs per delivery",
    "memory": "PSS KiB per stream",
    "open": "CPU µs per stream opened",
    "storm": "all back s",
    "restart": "all back s",
    "fair": "p99 ms",
    "hold": "p99 ms",
    "slow": "p99 ms",
    "churn": "a second",
    "soak": "p99_ms",
}


@pytest.fixture(autouse=True)
def _needs_a_compiler() -> None:
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc")


@pytest.mark.parametrize("row", streams.ROWS)
def test_the_short_form_of_a_row_finds_no_fault_and_is_kept(
    row: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = tree_of_this_process()
    status = streams.main(["--results", str(tmp_path), row, *SHORT[row]])
    printed = capfd.readouterr().out
    assert status == 0, printed
    [run] = json.loads((tmp_path / f"{row}.json").read_text())
    assert run["faults"] == []
    assert run["conditions"]["lifetime_s"]
    assert run["conditions"]["heartbeat_s"]
    figures = [float(line[FIGURES[row]]) for line in run["lines"]]
    # What a hundred streams cost is less than what a shared page costs, and programs beside this one come and go.
    assert all(map(math.isfinite, figures)) if row == "memory" else min(figures) >= 0
    assert FIGURES[row] in printed
    assert tree_of_this_process() == before, "a benchmark leaves no process behind"
    plot.main(["--results", str(tmp_path)])
    assert bool(list(tmp_path.glob("*.svg"))) == (row in {*plot.BARS, *plot.LINES})


def tree_of_this_process() -> set[int]:
    return set(tree(os.getpid()))


def test_a_reference_that_is_missing_is_said_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.servers_under_test.MODULES", (tmp_path,))
    arguments = ["open", "--streams", "20", "--rounds", "1", "--servers", "nchan", "floor"]
    assert streams.main(["--no-record", *arguments]) == 1
    printed = capfd.readouterr().out
    assert "apt-get install nginx-core libnginx-mod-nchan" in printed
    assert "| floor " in printed


def test_a_benchmark_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.streams", "--no-record"]
    command += ["hold", "--streams", "50", "--workers", "2", "--rounds", "1000000"]
    started = Process(command, log=tmp_path / "log").start()
    # The broker, the supervisor with two workers, the swarm.
    try:
        wait_until(lambda: len(tree(started.pid)) >= 6, "the start of everything", 60)
        _, *children = tree(started.pid)
    finally:
        started.kill()
    wait_until(lambda: not any(is_alive(child) for child in children), "the end of everything")
