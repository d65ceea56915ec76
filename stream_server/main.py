"""The program: one process, or a supervisor and its workers."""

from __future__ import annotations

from flagstream.logs import configure, get_logger
from stream_server.app import Place
from stream_server.capacity import Capacity, raise_open_files
from stream_server.listening import listen, url_of
from stream_server.serving import serve
from stream_server.settings import StreamServerSettings
from stream_server.workers import supervise

__all__ = ["run"]

log = get_logger(__name__)


def run(settings: StreamServerSettings) -> None:
    """Serve until SIGTERM or SIGINT has been drained; raises SystemExit with status 1 when it cannot listen."""
    configure(program="stream_server", log_format=settings.log_format, level=settings.log_level)
    if settings.drain < settings.lifetime:
        log.info("a stop ends streams before their time", drain=settings.drain, lifetime=settings.lifetime)
    _say_capacity(settings)
    if settings.workers > 1:
        supervise(settings)
        return
    [listener] = listen(settings)
    log.info("listening", url=url_of(listener), workers=1)
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
