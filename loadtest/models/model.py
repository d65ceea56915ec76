"""What a model of a client is made of: what it does when its stream ends, is cut, is refused or goes silent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from random import Random

__all__ = ["Fetching", "Loading", "Loss", "Model", "Wait"]


class Loss(IntEnum):
    """How a client lost its stream, or got none."""

    CLEAN = 0
    """The body came to its end."""
    CUT = 1
    """The connection broke, or was closed without the final chunk."""
    REFUSED = 2
    """No answer: refused, reset before the head, or not in time."""
    STATUS = 3
    """An answer that is no stream: another status, another content type, or a stream that was over at once."""
    SILENT = 4
    """Nothing came for longer than the client bears; most bear anything."""


class Fetching(IntEnum):
    """When a client fetches its flags."""

    NEVER = 0
    NEWER = 1
    """When an event tells of a version above the one held."""
    EVERY = 2
    """At every event, whatever it tells."""


class Loading(IntEnum):
    """When a client fetches its first flags."""

    NEVER = 0
    BESIDE = 1
    """While it opens its first stream."""
    BEFORE = 2
    """Before it opens its first stream, which waits for the answer."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The seconds until the next try: ``fixed + uniform(0, random)``, each growing by its factor with every failure.

    Neither part grows above `cap`. With `obeys_retry` the fixed part is never below the server's ``retry:``. With
    `adds_fraction` the fraction of the second comes on top that its clock shows when it begins to wait: those who begin
    together come back together.
    """

    fixed: float = 0.0
    random: float = 0.0
    fixed_factor: float = 1.0
    random_factor: float = 1.0
    cap: float = math.inf
    obeys_retry: bool = False
    adds_fraction: bool = False

    def seconds(self, failures: int, retry: float, chance: Random, clock: float = 0.0) -> float:
        """Return the seconds after the `failures`-th failure in a row (0 or 1 for the first).

        `retry` and `clock`, what the client's own clock shows, are in seconds.
        """
        grown = min(max(failures - 1, 0), 64)
        fixed = min(self.cap, self.fixed * self.fixed_factor**grown)
        if self.obeys_retry and retry > fixed:
            fixed = retry
        most = min(self.cap, self.random * self.random_factor**grown)
        if self.adds_fraction:
            fixed += clock % 1.0
        return fixed + most * chance.random() if most else fixed


@dataclass(frozen=True, slots=True)
class Model:
    """One kind of client; waits that are None mean that it never comes back.

    A clean end of a stream that lived less than `short` seconds counts as `Loss.STATUS`. Failures are counted anew
    after a stream that lived `proven` seconds or came to a clean end. `replaces` opens the next stream before the old
    one ends (make before break, see `loadtest.replacing`). `silence` is how long it bears to hear nothing, `overdue`
    how long it bears a stream beyond its announced life, `open_timeout` how long it waits for an answer and
    `connect_timeout` for a connection alone; infinite where it waits for ever, or as long as its system does.
    `keeps_connection` asks for the next stream on the connection of the last one where the server keeps it open.
    """

    name: str
    title: str
    clean: Wait
    cut: Wait | None
    refused: Wait | None
    status: Wait | None
    silent: Wait | None = Wait()
    default_retry: float = 0.0
    longest_retry: float = math.inf
    """What it lets a server ask for by ``retry:``, in seconds."""
    longest_retry_after: float = 0.0
    """The same by ``Retry-After``; 0 where it does not read that header."""
    short: float = 0.0
    proven: float = 0.0
    replaces: bool = False
    silence: float = math.inf
    overdue: float = math.inf
    open_timeout: float = math.inf
    connect_timeout: float = math.inf
    keeps_connection: bool = False
    fetching: Fetching = Fetching.NEWER
    loads: Loading = Loading.BESIDE
    fetches_version: bool = False
    """Whether it asks for the version that it was told of (``?v=``), so that an edge may collapse the fetches."""
    fetches_document: bool = False
    """Whether it fetches the whole environment with a server-side key."""
    fetches_apart: float = 0.0
    """Seconds between the beginnings of two fetches, at least."""
    drops_while_fetching: bool = False
    """Whether an event that comes during a fetch is lost on it."""
    deaf_after_failed_fetch: bool = False
    """Whether it takes no event any more after a fetch that failed."""
    forgets_failed_fetch: bool = False
    """Whether it never asks again for a version whose fetch failed, not even when its next stream tells of it."""
    reload: Wait | None = None
    """The wait after a first fetch that failed, where the first stream waits for a good one; None: it is opened."""
    refetch: Wait | None = None
    """The wait after a fetch that failed; None where only an event makes it fetch again."""
    settle: float = 0.0
    """Seconds after an event before it fetches."""

    def wait(self, loss: Loss) -> Wait | None:
        """Return its wait after `loss`."""
        return (self.clean, self.cut, self.refused, self.status, self.silent)[loss]

    def counts_as(self, loss: Loss, lived: float) -> Loss:
        """Return what `loss` is to it, of a stream that lived `lived` seconds: a clean end may come too soon."""
        return Loss.STATUS if loss is Loss.CLEAN and lived < self.short else loss

    def failures(self, before: int, loss: Loss, lived: float) -> int:
        """Return the failures in a row with `loss` (see `counts_as`); `lived` is negative where there was no stream."""
        if loss is Loss.CLEAN:
            return 0
        return 1 if 0.0 <= self.proven <= lived else before + 1
