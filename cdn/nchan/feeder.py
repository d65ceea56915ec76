"""The feeder: follows the broker and keeps every nginx told of the newest versions."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Sequence
from typing import Final

from nats.aio.msg import Msg

from cdn.health import Health
from cdn.nchan.connection import Address
from cdn.nchan.figures import Figures
from cdn.nchan.outbox import Outbox
from cdn.nchan.target import Target
from flagstream.cancelling import cancel
from flagstream.logs import configure, get_logger
from stream_server.feed import Feed
from stream_server.frames import Frame, encode_opening
from stream_server.settings import StreamServerSettings

__all__ = ["Board", "run"]

log = get_logger(__name__)

PROGRAM: Final = "nchan_feeder"

LAST_POSTS: Final = 2.0
"""Seconds that a feeder which stops has for what is not posted yet."""


class Board:
    """The newest version of every environment, and the outboxes that are told; what a `Feed` needs of a hub."""

    overflowed = 0

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self.outboxes: list[Outbox] = []
        self.known = 0

    def advance(self, key: str, version: int) -> bool:
        """Raise `key` to `version`; True when that is news."""
        if version <= self.newest.get(key, 0):
            return False
        self.newest[key] = version
        self.known = len(self.newest)
        return True

    def dispatch(self, key: str, version: int) -> bool:
        """Have every nginx told of `key`, unless `version` is not what its newest one is."""
        if version != self.newest.get(key):
            return False
        for outbox in self.outboxes:
            outbox.want(key)
        return True


class _Silent:
    """Answers no question about streams: nchan holds them, and whoever asks counts those of stream servers."""

    async def on_request(self, message: Msg) -> None:
        """Leave it unanswered."""


def encode_message(version: int, retry: float) -> bytes:
    """Return the block that nginx sends, the first one of a stream and every later one alike.

    `retry` is in seconds; the wait that browsers are told is random from half of it to one and a half, so that those
    of different environments do not come back together.
    """
    return encode_opening(Frame(version), round(retry * random.uniform(500, 1500)))  # noqa: S311 - no secret


def run(settings: StreamServerSettings, nginx: Sequence[Address], host: str, port: int) -> None:
    """Feed `nginx` until SIGTERM or SIGINT; a second signal stops at once."""
    configure(program=PROGRAM, log_format=settings.log_format, level=settings.log_level)
    asyncio.run(_run(settings, nginx, host, port))


async def _run(settings: StreamServerSettings, nginx: Sequence[Address], host: str, port: int) -> None:
    figures = Figures()
    board = Board()
    feed = _feed(settings, board, figures)
    targets = []
    for address in nginx:
        outbox = Outbox(board.newest, settings.min_interval)
        board.outboxes.append(outbox)
        targets.append(Target(address, outbox, lambda version: encode_message(version, settings.retry), figures))

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    server = await Health(lambda: _faults(feed, targets), figures.registry).listen(host, port)
    place = server.sockets[0].getsockname()
    log.info("listening", url=f"http://{Address(place[0], place[1])}", nginx=[target.name for target in targets])
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(feed.run(), name="feed")]
            running += [tasks.create_task(target.run(), name="nginx") for target in targets]
            await stopping.wait()
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)
            await cancel(running[:1])
            await _finish(targets)
            await cancel(running)
    finally:
        server.close()
        for outbox in board.outboxes:
            outbox.close()
    log.info("stopped")


def _feed(settings: StreamServerSettings, board: Board, figures: Figures) -> Feed:
    return Feed(
        servers=settings.nats_url,
        credentials=settings.nats_credentials,
        resync_interval=settings.resync_interval,
        versions=board,
        saved={},
        hub=board,
        on_news=lambda _: None,
        counts=_Silent(),
        metrics=figures,
    )


async def _finish(targets: Sequence[Target]) -> None:
    """Give every nginx that is there the time to take what it lacks."""
    deadline = asyncio.get_running_loop().time() + LAST_POSTS
    while any(target.up and target.outbox.unsent for target in targets):
        if asyncio.get_running_loop().time() > deadline:
            log.warning("stopped with versions unsent")
            return
        await asyncio.sleep(0.02)


def _faults(feed: Feed, targets: Sequence[Target]) -> dict[str, str]:
    faults = {}
    if not feed.ready:
        faults["nats"] = feed.trouble or "the newest versions are not read yet"
    elif not feed.connected:
        faults["nats"] = "NATS is away; what was known is kept"
    for target in targets:
        if not target.up:
            faults[target.name] = "does not answer"
    return faults
