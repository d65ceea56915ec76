"""One stream-server process: its parts put together, and served until they have been drained."""

from __future__ import annotations

import gc
import logging
import resource
import socket
from typing import Final

import uvloop

from flagstream.logs import get_logger
from stream_server.app import Place, assemble, create_app
from stream_server.server import Server
from stream_server.settings import StreamServerSettings

__all__ = ["serve"]

log = get_logger(__name__)

RESERVED_FILES: Final = 64
"""Open files that are no client connections."""


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
