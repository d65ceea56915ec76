"""The report as a process: it reads, shows and answers until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Final

from prometheus_client import CollectorRegistry

from cdn.health import Health
from cdn.report.answers import Answers
from cdn.report.figures import Figures
from cdn.report.watch import Watch
from cdn.settings import CdnSettings
from flagstream.cancelling import cancel
from flagstream.logs import configure, get_logger

__all__ = ["run"]

log = get_logger(__name__)

PROGRAM: Final = "edge_report"


def run(settings: CdnSettings) -> None:
    """Report on the Varnish at `varnish_name` until SIGTERM or SIGINT."""
    configure(program=PROGRAM, log_format=settings.log_format, level=settings.log_level)
    try:
        asyncio.run(_run(settings))
    except OSError as error:
        sys.exit(f"edge report: cannot listen on {settings.report_host}:{settings.report_port}: {error.strerror}")


async def _run(settings: CdnSettings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    registry = CollectorRegistry()
    figures = Figures(registry)
    watch = Watch(settings.varnish_name, figures)
    server = await Health(lambda: {"varnish": watch.fault} if watch.fault else {}, registry).listen(
        settings.report_host, settings.report_port
    )
    host, port = server.sockets[0].getsockname()[:2]
    log.info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}", varnish=settings.varnish_name)
    # One Varnish is one edge, however many report on it.
    answers = Answers(figures, f"{socket.gethostname()}:{settings.varnish_name}")
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(watch.run(), name="watch")]
            if settings.nats_url:
                running.append(
                    tasks.create_task(answers.run(settings.nats_url, settings.nats_credentials), name="nats")
                )
            await stopping.wait()
            await cancel(running)
    finally:
        server.close()
    log.info("stopped")
