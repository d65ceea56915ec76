from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers_under_test import Server, start
from benchmarks.swarm import Swarm
from tests.programs import MEASURING
from tests.servers import missing


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed here is not what measures its coverage."""
    for name in list(os.environ):
        if name.startswith(MEASURING):
            monkeypatch.delenv(name)


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
