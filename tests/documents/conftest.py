from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.documents.upstream import Setup, Upstream, documents, serving


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    async with serving(upstream.app()) as upstream.port:
        yield upstream


@pytest_asyncio.fixture
async def setup(upstream: Upstream) -> AsyncIterator[Setup]:
    async with documents(upstream) as setup:
        yield setup
