"""One stream-server process: its parts put together, and served until they have been drained."""

from __future__ import annotations

import gc
import logging
import socket

import uvloop
from starlette.applications import Starlette

from flagstream.logs import get_logger
from flagstream.protocol import TESTED_UVICORN, untested_uvicorn
from stream_server.app import Place, assemble, create_app
from stream_server.capacity import raise_open_files
from stream_server.engine import Engine
from stream_server.lifeline import Lifeline
from stream_server.server import Server
from stream_server.settings import StreamServerSettings
from stream_server.waiting_room import WaitingRoom

__all__ = ["serve"]

log = get_logger(__name__)


def serve(
    settings: StreamServerSettings, listener: socket.socket, place: Place, *, lifeline: Lifeline | None = None
) -> None:
    """Serve in this process until a signal has been drained, or an order of the supervisor that `lifeline` ties it to.

    Nothing is accepted before streams can be told the newest versions: a client that comes back would be told less
    than it knew.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its steps of starting and stopping are ours to tell
    raise_open_files()
    if place.index == 0 and (version := untested_uvicorn()):
        log.warning("this uvicorn is not one that was tested", version=version, tested=TESTED_UVICORN)
    if settings.waiting_room:
        settings = settings.of_waiting_room()
    app, engine = _waiting_room(settings) if settings.waiting_room else _stream_server(settings, place)
    server = Server(app, settings, hub=engine.hub, drain=engine.drain, lifeline=lifeline)
    # What is loaded now lives as long as the process: the collector need not look at it for every new stream.
    gc.collect()
    gc.freeze()
    uvloop.run(server.serve(sockets=[listener]))
    log.info("stopped")


def _stream_server(settings: StreamServerSettings, place: Place) -> tuple[Starlette, Engine]:
    parts = assemble(settings, place)
    first = parts.feed.loaded if place.replaces else parts.feed.told
    return create_app(settings, parts, first=first.wait), parts


def _waiting_room(settings: StreamServerSettings) -> tuple[Starlette, Engine]:
    room = WaitingRoom(settings)
    return room.app(), room.engine
