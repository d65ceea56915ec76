"""The program: one process, or a supervisor and its workers."""

from __future__ import annotations

import gc
import logging
import resource
import socket
import sys
from typing import Final

import uvloop

from flagstream.logs import configure, get_logger
from stream_server.app import Place, assemble, create_app
from stream_server.listening import bind, url_of
from stream_server.server import Server
from stream_server.settings import StreamServerSettings

__all__ = ["run", "serve"]

log = get_logger(__name__)

RESERVED_FILES: Final = 64
"""Open files that are no client connections."""


def run(settings: StreamServerSettings) -> None:
    """Serve until SIGTERM or SIGINT has been drained; raises SystemExit with status 1 when it cannot listen."""
    configure(program="stream_server", log_format=settings.log_format, level=settings.log_level)
    if settings.drain < settings.lifetime:
        log.info("a stop ends streams before their time", drain=settings.drain, lifetime=settings.lifetime)
    if settings.workers > 1:
        from stream_server.workers import supervise  # noqa: PLC0415 - one process needs no supervisor

        supervise(settings)
        return
    [listener] = listen(settings)
    log.info("listening", url=url_of(listener), workers=1)
    serve(settings, listener, Place())


def listen(settings: StreamServerSettings) -> list[socket.socket]:
    """Return a listening socket for each worker; raises SystemExit with status 1 and says why it cannot."""
    try:
        return bind(settings.host, settings.port, settings.workers)
    except OSError as error:
        log.error("cannot listen", host=settings.host, port=settings.port, reason=error.strerror or str(error))  # noqa: TRY400 - a traceback says nothing more
        sys.exit(1)


def serve(
    settings: StreamServerSettings, listener: socket.socket, place: Place, *, lifeline: int | None = None
) -> None:
    """Serve in this process until a signal has been drained, or `lifeline`, a pipe, has ended."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its steps of starting and stopping are ours to tell
    log.info("serving", streams_at_most=_raise_open_files() - RESERVED_FILES)
    parts = assemble(settings, place)
    app = create_app(settings, parts)
    server = Server(app, hub=parts.hub, drain=parts.drain, edge=settings.edge, lifeline=lifeline)
    # What is loaded now lives as long as the process: the collector need not look at it for every new stream.
    gc.collect()
    gc.freeze()
    uvloop.run(server.serve(sockets=[listener]))
    log.info("stopped")


def _raise_open_files() -> int:
    """Raise the limit of open files, which bounds the streams of a process, as far as it goes, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
