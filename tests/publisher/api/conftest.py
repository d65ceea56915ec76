from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from tests.publisher.api.serving import Api, serving, settings_for


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[None]:
    """Send our own log lines to the standard library, where `caplog` and the fixtures below see them."""
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    yield
    structlog.reset_defaults()


@pytest_asyncio.fixture
async def api(database_url: str, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Api]:
    """A publisher over each database; whatever the test did, it must not have left a traceback in the log."""
    async with serving(settings_for(database_url)) as served:
        yield served
    assert not [record for record in caplog.records if record.exc_info], caplog.text


@pytest_asyncio.fixture
async def sqlite_api(tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Api]:
    """The same over SQLite alone, for what no database has a part in."""
    url = f"sqlite:///{tmp_path_factory.mktemp('publisher') / 'flagstream.db'}"
    async with serving(settings_for(url)) as served:
        yield served
    assert not [record for record in caplog.records if record.exc_info], caplog.text
