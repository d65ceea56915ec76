"""Several publisher processes on one socket: started, watched, started again with back-off, stopped together."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from flagstream.logs import configure, get_logger
from publisher.server import serve
from publisher.settings import PublisherSettings

__all__ = ["backoff", "supervise"]

STEADY = 10.0
"""Seconds after which a worker counts as well: its next death is waited for as shortly as the first."""

_logger = get_logger(__name__)
_context = multiprocessing.get_context("spawn")


def backoff(deaths: int) -> float:
    """Return the seconds to wait before a worker that died `deaths` times in a row is started again."""
    return 0.0 if deaths <= 1 else min(0.2 * 2 ** (deaths - 2), 10.0)


def supervise(settings: PublisherSettings, listener: socket.socket) -> int:
    """Run `settings.workers` processes until SIGTERM or SIGINT; return 0 when they all stopped cleanly."""
    return Supervisor(settings, listener).run()


class Supervisor:
    """Holds the socket, so that connections wait in its queue while a worker is started again."""

    def __init__(self, settings: PublisherSettings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._workers: list[SpawnProcess | None] = [None] * settings.workers
        self._deaths = [0] * settings.workers
        self._started = [0.0] * settings.workers
        self._due = [0.0] * settings.workers
        self._signals = 0
        # The workers' ends tell them when this process dies, however it dies.
        self._alive, self._here = _context.Pipe(duplex=False)
        self._woken, self._wake = _context.Pipe(duplex=False)

    def run(self) -> int:
        """Start, watch, stop."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not self._signals:
                self._start_due()
                self._wait()
                self._reap()
            return self._stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in (self._alive, self._here, self._woken, self._wake):
                end.close()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        self._wake.send_bytes(b"x")
        if self._signals > 1:  # the second one stops at once
            self._send(number)

    def _send(self, number: int) -> None:
        for worker in self._workers:
            if worker is not None and worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, number)

    def _start_due(self) -> None:
        for index, worker in enumerate(self._workers):
            if worker is None and time.monotonic() >= self._due[index]:
                process = _context.Process(
                    target=_work, args=(self._settings, self._listener, self._alive), name=f"publisher {index}"
                )
                process.start()
                self._workers[index] = process
                self._started[index] = time.monotonic()

    def _wait(self) -> None:
        due = [moment for worker, moment in zip(self._workers, self._due, strict=True) if worker is None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        wait([self._woken, *(worker.sentinel for worker in self._workers if worker is not None)], timeout)

    def _reap(self) -> None:
        for index, worker in enumerate(self._workers):
            if worker is None or worker.exitcode is None:
                continue
            worker.join()
            steady = time.monotonic() - self._started[index] >= STEADY
            self._deaths[index] = 1 if steady else self._deaths[index] + 1
            delay = backoff(self._deaths[index])
            self._due[index] = time.monotonic() + delay
            self._workers[index] = None
            _logger.error("worker died, starting another", worker=index, status=worker.exitcode, wait=delay)

    def _stop(self) -> int:
        self._listener.close()
        self._send(signal.SIGTERM)
        limit = time.monotonic() + self._settings.drain + 5
        status = 0
        for worker in self._workers:
            if worker is None:
                continue
            worker.join(max(0.1, limit - time.monotonic()))
            if worker.exitcode is None:
                worker.kill()
                worker.join()
            # One that was still starting dies of the signal itself; it had nothing to finish.
            status = status or int(worker.exitcode not in {0, -signal.SIGTERM})
        return status


def _work(settings: PublisherSettings, listener: socket.socket, parent: Connection) -> None:
    """Serve as one worker; stop when the supervisor is gone, for nobody would ever stop this process then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the server takes it: the terminal's goes to all of us
    configure(program="publisher", log_format=settings.log_format, level=settings.log_level)

    def watch(stop: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def wait_for_end() -> None:
            wait([parent])  # nothing is ever sent: it is ready when the other end is closed
            loop.call_soon_threadsafe(stop)

        threading.Thread(target=wait_for_end, name="parent", daemon=True).start()

    raise SystemExit(serve(settings, listener, watch=watch))
