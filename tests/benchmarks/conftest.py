from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers_under_test import Server, start
from benchmarks.swarm import Swarm
from tests.servers import missing


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Server]:
    """The C floor."""
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc")
    with start("floor", tmp_path / "floor") as server:
        yield server


@pytest.fixture
def swarm(floor: Server, tmp_path: Path) -> Iterator[Swarm]:
    """A swarm of three processes, whose figures have to be added up."""
    with Swarm(floor.port, 300, tmp_path, share=100) as swarm:
        yield swarm
