"""The rows of the edge in their short forms: they run, find no fault, and are kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from benchmarks import edge
from loadtest.machine import tree
from tests.forked import forker
from tests.servers import missing

pytestmark = pytest.mark.slow

SHORT = {
    "fan-out": ["--clients", "100", "--rounds", "1"],
    "environments": ["--clients", "100", "--keys", "2", "--rounds", "1"],
    "refetch": ["--clients", "50", "--rounds", "2"],
    "killed": ["--clients", "50", "--away", "2"],
}
"""The others repeat these for several configurations."""


@pytest.mark.parametrize("row", SHORT)
def test_the_short_form_of_a_row_finds_no_fault_and_is_kept(
    row: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for program, package in (("varnishd", "varnish"), ("cc", "gcc")):
        if shutil.which(program) is None:
            missing(program, package)
    forker()  # which stays for the tests after this one, whichever of them needs it first
    before = set(tree(os.getpid()))
    status = edge.main(["--results", str(tmp_path), row, *SHORT[row]])
    assert status == 0, capfd.readouterr().out
    [run] = json.loads((tmp_path / f"edge-{row}.json").read_text())
    assert run["faults"] == []
    assert run["lines"]
    assert set(tree(os.getpid())) == before, "a benchmark leaves no process behind"
