"""The program: one process, or a supervisor and its workers."""

from __future__ import annotations

from flagstream.logs import configure, get_logger
from stream_server.app import Place
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
    if settings.workers > 1:
        supervise(settings)
        return
    [listener] = listen(settings)
    log.info("listening", url=url_of(listener), workers=1)
    serve(settings, listener, Place())
