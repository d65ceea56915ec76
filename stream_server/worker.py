"""One worker process of a supervisor: ``python -m stream_server.worker``, told by its standard input what to do.

The first line of standard input is an `Assignment` in JSON, then come the orders of `stream_server.lifeline`. Standard
output carries this worker's word that it is ready, and nothing else.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import values

from flagstream.logs import configure
from flagstream.settings import load
from flagstream.temporary import hold
from stream_server.app import Place
from stream_server.lifeline import Lifeline
from stream_server.serving import serve
from stream_server.settings import StreamServerSettings

__all__ = ["Assignment", "main"]


class Assignment(msgspec.Struct):
    """What a worker is to do: its settings, the descriptor of its listening socket, and its place.

    `region` of the `regions` of the file `versions` is its own, and so are the files of that number that hold its
    figures. One that `replaces` another accepts only when its versions are loaded: the other one still does.
    """

    settings: dict[str, Any]
    listener: int
    index: int
    workers: int
    versions: str
    region: int
    regions: int
    replaces: bool


def main() -> None:
    """Serve as the supervisor says."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whoever sends it to every process means the supervisor
    # Unbuffered: an order that is already behind the line stays in the pipe.
    line = io.FileIO(sys.stdin.fileno(), closefd=False).readline()
    assignment = msgspec.json.decode(line, type=Assignment)
    words = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what is printed by mistake is no word to the supervisor
    # By `load`: settings that came with an upgrade, which the running supervisor does not know, have their defaults.
    settings = load(StreamServerSettings, overrides=assignment.settings, environ={})
    configure(program="stream_server", log_format=settings.log_format, level=settings.log_level)
    hold(Path(assignment.versions).parent)
    _continue_figures(assignment.region)
    place = Place(
        index=assignment.index,
        workers=assignment.workers,
        versions=assignment.versions,
        region=assignment.region,
        regions=assignment.regions,
        replaces=assignment.replaces,
    )
    lifeline = Lifeline(sys.stdin.fileno(), words)
    serve(settings, socket.socket(fileno=assignment.listener), place, lifeline=lifeline)


def _continue_figures(region: int) -> None:
    """Name the files of this process's figures by `region` and not by its id.

    Its predecessor's counters go on in them, so that sums over all workers never fall, and there are never more files
    than regions, however often workers are started.
    """
    values.ValueClass = values.MultiProcessValue(lambda: region)  # type: ignore[no-untyped-call] # untyped package


if __name__ == "__main__":
    main()
