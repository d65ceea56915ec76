"""The program: one process, or a supervisor and its workers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from functools import partial
from types import FrameType
from typing import Any

from flagstream.logs import configure, get_logger
from flagstream.settings import load
from stream_server.app import Place
from stream_server.capacity import Capacity, raise_open_files
from stream_server.listening import listen, url_of
from stream_server.serving import serve
from stream_server.settings import StreamServerSettings
from stream_server.workers import supervise

__all__ = ["run"]

log = get_logger(__name__)


def run(settings: StreamServerSettings, options: Mapping[str, Any] | None = None) -> None:
    """Serve until SIGTERM or SIGINT has been drained; raises SystemExit with status 1 when it cannot listen.

    `options` are what the command line set: they still win when SIGHUP has the settings read again.
    """
    configure(program="stream_server", log_format=settings.log_format, level=settings.log_level)
    if settings.waiting_room:
        waiting_for = settings.shown()["waiting_for"]
        log.info("this is a waiting room: streams live for seconds and tell nothing", waiting_for=waiting_for)
    elif settings.drain < settings.lifetime:
        log.info("a stop ends streams before their time", drain=settings.drain, lifetime=settings.lifetime)
    _say_capacity(settings)
    if settings.workers > 1 or settings.supervised:
        supervise(settings, partial(load, StreamServerSettings, overrides=options))
        return
    [listener] = listen(settings)
    log.info("listening", url=url_of(listener), workers=1)
    if sys.stdin is None or not sys.stdin.isatty():  # a terminal that hangs up ends what runs in it
        signal.signal(signal.SIGHUP, _refuse_reload)
    serve(settings, listener, Place())


def _say_capacity(settings: StreamServerSettings) -> None:
    """Raise the limit of open files, which workers inherit, and say how many streams it allows."""
    capacity = Capacity.within(raise_open_files(), settings.max_streams)
    log.info(
        "capacity",
        open_files=capacity.files,
        streams_at_most=capacity.streams,
        workers=settings.workers,
        in_all=capacity.streams * settings.workers,
    )
    if capacity.shortage:
        log.warning("max_streams cannot be held", max_streams=settings.max_streams, reason=capacity.shortage)


def _refuse_reload(_: int, __: FrameType | None) -> None:
    log.warning("SIGHUP replaces nothing without a supervisor: set workers above 1, or supervised = true")
