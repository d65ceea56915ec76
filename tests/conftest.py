"""Fixtures: real servers, started once where they can be shared and once a test where tests kill them."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, expect, sync_playwright

from tests import authorities
from tests.servers import NatsServer, PostgresServer, RedisServer, missing

SHOWN_WITHIN = 20_000
"""Milliseconds that a page has to show what is expected of it, 5,000 by default: a busy machine takes longer."""

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure(config: pytest.Config) -> None:
    """Before the first client is made, and before the processes of pytest-xdist are started, which inherit it."""
    # Hypothesis fails an example that took 0.2 s, or many that took long to draw: as on a busy machine.
    patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("patient", parent=settings(), **patient)
    settings.load_profile("patient")
    file = authorities.trust_one()
    if file is not None:
        config.add_cleanup(partial(file.unlink, missing_ok=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes minutes: no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("chaos") is None)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Before pytest-cov puts together what each process measured, drop the halves that killed processes left."""
    result = yield
    if not hasattr(session.config, "workerinput"):
        for file in session.config.rootpath.glob(".coverage.*"):
            if not _is_measurement(file):
                file.unlink(missing_ok=True)
    return result


def _is_measurement(file: Path) -> bool:
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        try:
            return database.execute("select version from coverage_schema").fetchone() is not None
        except sqlite3.DatabaseError:
            return False


@pytest.fixture(autouse=True)
def _logs_stay_as_they_were() -> Iterator[None]:
    """Undo what a program configures that a test runs in its own process: later tests would hear nothing, or more."""
    configured = structlog.is_configured()
    before = {logger: (logger.level, logger.disabled, logger.propagate) for logger in _loggers()}
    handlers = {logger: logger.handlers[:] for logger in before if logger.handlers}
    yield
    for logger in _loggers():
        level, logger.disabled, logger.propagate = before.get(logger, (logging.NOTSET, False, True))
        if logger.level != level:
            logger.setLevel(level)
        if logger in before:
            logger.handlers[:] = handlers.get(logger, [])
    if structlog.is_configured() and not configured:
        structlog.reset_defaults()


def _loggers() -> list[logging.Logger]:
    made = logging.Logger.manager.loggerDict.values()
    return [logging.getLogger(), *(each for each in made if isinstance(each, logging.Logger))]


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A nats-server of the test's own: it may be killed, paused, wiped."""
    folder = tmp_path / "nats"
    folder.mkdir()
    server = NatsServer(folder).start()
    yield server
    if server.process.running:
        server.resume()
        server.kill()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server of the test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder).start()
    yield server
    if server.process.running:
        server.resume()
        server.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run."""
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flagstream.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium; each test opens contexts of its own.

    Not for the whole run: while it is open, playwright's loop runs in this thread and asyncio tests cannot.
    """
    path = shutil.which("chromium")
    if path is None:
        missing("Chromium", "chromium")
    expect.set_options(timeout=SHOWN_WITHIN)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()
