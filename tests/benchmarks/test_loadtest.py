"""The load test's generator beside an independent one, in small: both must count the same."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.rows.generators import agrees
from tests.servers import missing

pytestmark = pytest.mark.slow


def test_two_generators_of_different_make_count_the_same_streams_and_events() -> None:
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc")
    table = agrees(streams=300, versions=5, rounds=1, names=("c", "ours", "uvloop"))
    assert table.faults == []
    assert [(line["opened"], line["events"]) for line in table.lines] == [(300, 1500)] * 3
