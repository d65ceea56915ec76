"""Fixtures: the test service, and the harness's side of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.sdk_client.contract.harness import Harness
from tests.sdk_client.contract.running import running_service


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with running_service() as url:
        yield url


@pytest_asyncio.fixture
async def harness(service: str) -> AsyncIterator[Harness]:
    async with Harness(service) as harness:
        yield harness
