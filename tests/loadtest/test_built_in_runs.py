"""Every built-in scenario in its form of ten seconds, as a user runs it: a real stack, real streams."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.scenario.reading import names
from tests.programs import environment, unmeasured
from tests.servers import missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run_command(name: str) -> list[str]:
    return ["loadtest", "run", name, "--local", "--short"]


@pytest.mark.parametrize("name", names())
def test_a_built_in_scenario_passes_in_its_short_form(name: str, tmp_path: Path) -> None:
    if name == "edge" and shutil.which("varnishd") is None:
        missing("varnishd", "varnish")
    report, page = tmp_path / "results.json", tmp_path / "report.html"
    command = [sys.executable, "-m", "flagstream", *run_command(name), "--quiet"]
    done = subprocess.run(
        [*command, "--json", str(report), "--html", str(page)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=unmeasured(environment()),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    assert (found["verdict"], found["reasons"]) == ("passed", [])
    assert found["thresholds"], "a run that is held to nothing shows nothing"
    assert all(threshold["passed"] for threshold in found["thresholds"])
    streams = found["streams"]
    # Where servers are held up for a second as all come, the first leave, or pause, before the last have streams.
    assert streams["clients"] * 0.75 <= streams["peak"] <= streams["clients"]
    assert streams["peak"] <= streams["opened"] <= streams["requests"]
    assert found["delivery"]["count"] > 0
    assert found["delivery"]["p50_ms"] <= found["delivery"]["p99_ms"] <= found["delivery"]["max_ms"]
    assert found["publishing"]["accepted"] == found["publishing"]["sent"] == found["publishing"]["planned"] > 0
    assert [fault["error"] for fault in found["faults"]] == [""] * len(found["faults"])
    followers = [group for group in found["groups"] if group["name"] != "slow"]  # who reads slowly is behind for long
    assert sum(group["lost"] for group in followers) == 0
    assert (found["duplicates"], found["out_of_order"]) == (0, 0)
    assert found["generator"]["errors"] == {}
    assert b"<script" in page.read_bytes()
    assert "Traceback" not in done.stderr
    if name == "edge":
        asked = {group["via"]: group["streams"]["requests"] for group in found["groups"]}
        requests = found["requests"]
        assert (requests["sent"], requests["sent_to_edge"]) == (asked["origin"] + asked["edge"], asked["edge"])
        assert 0 < requests["edge_sent_on"] < asked["edge"] / 10
        assert requests["origin"] <= asked["origin"] + requests["edge_sent_on"]  # the last ones may not be told yet
