"""The publisher as a process: serve until told to stop, then stop cleanly."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
import time

from sqlalchemy.exc import SQLAlchemyError

from flagstream.logs import configure, get_logger
from publisher import migrations
from publisher.database import Database
from publisher.server import BACKLOG, serve
from publisher.settings import PublisherSettings
from publisher.workers import supervise

__all__ = ["run"]

PATIENCE = 15.0
"""Seconds that a starting process waits for PostgreSQL."""


def run(settings: PublisherSettings) -> None:
    """Serve until SIGTERM or SIGINT; exits with a status other than 0 when it had to stop for another reason."""
    configure(program="publisher", log_format=settings.log_format, level=settings.log_level)
    asyncio.run(_prepare(settings))
    with _listen(settings) as listener:
        status = supervise(settings, listener) if settings.workers > 1 else serve(settings, listener)
    if status:
        sys.exit(status)


async def _prepare(settings: PublisherSettings) -> None:
    """Migrate the database before anything listens; wait a little for a database that starts at the same time."""
    logger = get_logger(__name__)
    database = Database(settings.database_url)
    deadline = time.monotonic() + PATIENCE
    try:
        database.probe()
        while True:
            try:
                return await migrations.upgrade(database)
            except migrations.SchemaTooNewError as error:
                sys.exit(f"publisher: {error}")
            except (SQLAlchemyError, OSError) as error:
                reason = str(error).splitlines()[0]
                if settings.database_url.startswith("sqlite:") or time.monotonic() > deadline:
                    sys.exit(f"publisher: the database of database_url cannot be used: {reason}")
                logger.warning("database cannot be reached, trying on", reason=reason)
                await asyncio.sleep(1)
    except sqlite3.Error as error:
        sys.exit(f"publisher: the database of database_url cannot be used: {error}")
    finally:
        await database.close()


def _listen(settings: PublisherSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        sys.exit(f"publisher: cannot listen on {settings.host}:{settings.port}: {error.strerror or error}")
    listener.settimeout(0)
    get_logger(__name__).info("listening", host=settings.host, port=listener.getsockname()[1])
    return listener
