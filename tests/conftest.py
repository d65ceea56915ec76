"""Fixtures: real servers, started once where they can be shared and once a test where tests kill them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import NatsServer, PostgresServer, RedisServer


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
