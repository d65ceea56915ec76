"""One worker process of a supervisor: ``python -m stream_server.worker``, told by its standard input what to do.

The first line of standard input is an `Assignment` in JSON. After it the pipe stays silent until the supervisor ends,
however it ends; a worker without a supervisor stops.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import msgspec

from flagstream.logs import configure
from stream_server.app import Place
from stream_server.serving import serve
from stream_server.settings import StreamServerSettings

__all__ = ["Assignment", "main"]


class Assignment(msgspec.Struct):
    """What a worker is to do: its settings, its place, and the descriptor of its listening socket."""

    settings: dict[str, Any]
    listener: int
    index: int
    workers: int
    versions: str


def main() -> None:
    """Serve as the supervisor says."""
    line = sys.stdin.buffer.readline()
    assignment = msgspec.json.decode(line, type=Assignment)
    settings = StreamServerSettings(**assignment.settings)
    configure(program="stream_server", log_format=settings.log_format, level=settings.log_level)
    place = Place(index=assignment.index, workers=assignment.workers, versions=assignment.versions)
    serve(settings, socket.socket(fileno=assignment.listener), place, lifeline=sys.stdin.fileno())


if __name__ == "__main__":
    main()
