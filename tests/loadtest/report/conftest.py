"""One run for all: a storm of some clients, simulated once."""

from __future__ import annotations

import pytest

from loadtest.results import Results
from tests.loadtest.report.simulated import storm


@pytest.fixture(scope="session")
def run() -> Results:
    return storm(clients=1500)


@pytest.fixture(scope="session")
def faster() -> Results:
    return storm(clients=1500, via="edge", speed=9000)
