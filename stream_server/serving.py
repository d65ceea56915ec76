"""One stream-server process: its parts put together, and served until they have been drained."""

from __future__ import annotations

import gc
import logging
import socket

import uvloop

from flagstream.logs import get_logger
from stream_server.app import Place, assemble, create_app
from stream_server.capacity import raise_open_files
from stream_server.server import Server
from stream_server.settings import StreamServerSettings

__all__ = ["serve"]

log = get_logger(__name__)


def serve(
    settings: StreamServerSettings, listener: socket.socket, place: Place, *, lifeline: int | None = None
) -> None:
    """Serve in this process until a signal has been drained, or `lifeline`, a pipe, has ended."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its steps of starting and stopping are ours to tell
    raise_open_files()
    parts = assemble(settings, place)
    app = create_app(settings, parts)
    server = Server(app, settings, hub=parts.hub, drain=parts.drain, lifeline=lifeline)
    # What is loaded now lives as long as the process: the collector need not look at it for every new stream.
    gc.collect()
    gc.freeze()
    uvloop.run(server.serve(sockets=[listener]))
    log.info("stopped")
