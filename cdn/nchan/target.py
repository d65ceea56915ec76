"""Keeps one nginx told: posts what it lacks, tells when it has forgotten, sends heartbeats.

nchan keeps messages in the memory of the workers, so an nginx that was restarted knows nothing, and one of whose
workers was killed has lost that worker's share of the channels while its other connections live on. Marker channels
show both: there are so many that every worker owns some, and each is looked at every few seconds. One that is gone, or
that somebody else has written, means that everything is posted again.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from cdn.nchan.connection import Address, AwayError, Connection
from cdn.nchan.figures import Figures
from cdn.nchan.outbox import Outbox
from cdn.nchan.slots import Numbers, beats
from flagstream.logs import get_logger

__all__ = ["Target"]

log = get_logger(__name__)

POSTERS: Final = 4
"""Connections over which versions are posted at once."""

MARKERS: Final = 64
MARKER_TURN: Final = 2.0
"""Seconds in which all markers are looked at."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
"""Seconds between attempts to reach an nginx that is away."""

REFUSED_PAUSE: Final = 1.0
"""Seconds before a post that was refused (nchan is out of shared memory: 507) is tried again."""

OVERDUE: Final = 5
"""Seconds of heartbeats that are made up for; what is later would reach streams of another second."""

GONE: Final = 404
OK: Final = 200
STORED: Final = frozenset({200, 201, 202})
HEARTBEAT: Final = b": ping\n\n"
LAST_MESSAGE: Final = re.compile(rb"last message id: *(\S+)")


class Target:
    """One nginx; `block` encodes the message of a version."""

    def __init__(self, address: Address, outbox: Outbox, block: Callable[[int], bytes], figures: Figures) -> None:
        self.name = str(address)
        self.outbox = outbox
        self.up = False
        self._address = address
        self._block = block
        self._markers: dict[int, bytes] = {}
        self._unclear: set[str] = set()
        self._done = 0  # the second whose heartbeats were sent last, by nginx's clock
        self._offset = 0.0  # nginx's clock less ours
        self._told_away = False
        self._figure_up = figures.up.labels(self.name)
        self._posted = figures.posted.labels(self.name)
        self._refused = figures.refused.labels(self.name)
        self._losses = figures.losses.labels(self.name)
        self._refilled = figures.refilled.labels(self.name)
        figures.unsent.labels(self.name).set_function(lambda: outbox.unsent)

    async def run(self) -> None:
        """Serve this nginx for ever, whether it is there or not."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._serve()
            except* AwayError as errors:
                self._lost(str(errors.exceptions[0]))
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads attempts, no secret
            pause = min(pause * 2, LONGEST_PAUSE)

    def _lost(self, reason: str) -> None:
        if self.up:
            self._losses.inc()
        self.up = False
        self._figure_up.set(0)
        if not self._told_away:
            self._told_away = True
            log.warning("nginx cannot be reached, trying on", nginx=self.name, reason=reason)

    async def _serve(self) -> None:
        async with Connection(self._address) as connection:
            numbers = await self._numbers(connection)
            await self._look_at_all(connection)
            self.up, self._told_away = True, False
            self._figure_up.set(1)
            log.info("nginx answers", nginx=self.name, unsent=self.outbox.unsent)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(POSTERS):
                    tasks.create_task(self._post_all())
                tasks.create_task(self._keep_time(numbers))
                await self._watch(connection)

    async def _numbers(self, connection: Connection) -> Numbers:
        before = time.time()
        answer = await connection.request("GET", "/feeder")
        try:
            numbers = msgspec.json.decode(answer.body, type=Numbers)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise AwayError(f"/feeder answers {answer.status}, not the numbers of nginx.conf: {error}") from None
        self._offset = numbers.now - (before + time.time()) / 2
        return numbers

    async def _watch(self, connection: Connection) -> None:
        """Look at one marker after the other; each time round set the clock and settle what was unclear.

        A frozen nginx may read a request when it wakes whose answer nobody awaits any more, and put an older version
        over a newer one: what had no answer is posted once more a round after it was confirmed.
        """
        while True:
            unclear = self._unclear.copy()
            for marker in range(MARKERS):
                await asyncio.sleep(MARKER_TURN / MARKERS)
                if await self._has_changed(connection, marker):
                    await self._look_at_all(connection, lost=True)
            for key in unclear:
                self.outbox.again(key)
            self._unclear -= unclear
            await self._numbers(connection)

    async def _look_at_all(self, connection: Connection, *, lost: bool = False) -> None:
        """Look at every marker, and have everything posted if one has changed; writing them comes first.

        What is lost after that takes its markers with it and is seen the next time.
        """
        known = bool(self._markers)
        for marker in range(MARKERS):
            lost |= await self._has_changed(connection, marker)
        if not lost:
            return
        if known:
            log.warning("nginx has lost its memory, or another feeder told it: everything is posted", nginx=self.name)
        self._refilled.inc()
        self.outbox.want_everything()

    async def _has_changed(self, connection: Connection, marker: int) -> bool:
        """Read one marker, written anew where it is gone; True when it is not the one that was seen before."""
        path = f"/marker/{marker}"
        answer = await connection.request("GET", path)
        gone = answer.status == GONE
        if gone:
            answer = await connection.request("POST", path, b"flagstream")
        found = LAST_MESSAGE.search(answer.body)
        if answer.status not in STORED or found is None:
            raise AwayError(f"{path} answers {answer.status}: is this the feeder's own server of nginx.conf?")
        # The id is a second and a count: that of a marker written anew within the same second is the same.
        changed = gone or self._markers.get(marker) != found[1]
        self._markers[marker] = found[1]
        return changed

    async def _post_all(self) -> None:
        async with Connection(self._address) as connection:
            while True:
                key, version = await self.outbox.take()
                await self._post(connection, key, version)

    async def _post(self, connection: Connection, key: str, version: int) -> None:
        try:
            answer = await connection.request("POST", f"/env/{key}", self._block(version))
        except BaseException:  # cancelled or away: it may have arrived or not, and must be posted again
            self._unclear.add(key)
            self.outbox.doubt(key)
            raise
        if answer.status in STORED:
            self._posted.inc()
            self.outbox.told(key, version)
            return
        self._refused.inc()
        log.warning("nginx refused a version, trying on", nginx=self.name, status=answer.status)
        self.outbox.doubt(key, REFUSED_PAUSE)

    async def _keep_time(self, numbers: Numbers) -> None:
        """Send what is due each second of nginx's clock; after a pause, what was due meanwhile."""
        async with Connection(self._address) as connection:
            while True:
                clock = time.time() + self._offset
                second = int(clock)
                first = max(self._done + 1, second - OVERDUE) if self._done <= second else second
                for each in range(first, second + 1):
                    for path in beats(each, numbers):
                        await connection.request("POST", path, HEARTBEAT)
                    self._done = each
                await asyncio.sleep(max(second + 1.02 - (time.time() + self._offset), 0.02))
