"""Whether a client got what it must have got, whatever it did."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from benchmarks.hostile.answers import Answer, Body, WrongError, read_answers
from benchmarks.hostile.client import Client
from benchmarks.hostile.clients import KEY
from stream_server.hub import Hub

__all__ = ["MOST_CLIENTS", "Published", "judge"]

MOST_CLIENTS: Final = 250
"""Clients at a time: the hub offers a version to as many streams before it takes the next one."""

FIRST: Final = 1735229888760123
STEP: Final = 1_000_000


class Published:
    """Versions in the order in which the hub was told of them, and from which moment on every stream had them."""

    def __init__(self, hub: Hub, conflated: Callable[[], float]) -> None:
        self._hub = hub
        self._read_conflated = conflated
        self._moments: list[float] = []
        self._conflated: list[float] = []
        self.newest = FIRST

    @property
    def count(self) -> int:
        """How many there were."""
        return (self.newest - FIRST) // STEP

    def publish(self) -> None:
        """Tell the hub of one more version."""
        self.newest += STEP
        self._hub.dispatch(KEY, self.newest)

    def settle(self) -> None:
        """Note that the newest has been offered to all; called after each, when the loop has turned."""
        self._conflated.append(self._read_conflated())
        self._moments.append(time.monotonic())

    def at(self, moment: float) -> int:
        """Return the version that every stream open at `moment` had been offered by then, 0 before the first."""
        count = bisect_right(self._moments, moment)
        return FIRST + count * STEP if count else 0

    def conflated_between(self, before: int, after: int) -> float:
        """Return how many frames the server has replaced on their way from `before`, published, to `after`."""
        first, last = (before - FIRST) // STEP, (after - FIRST) // STEP
        known = self._conflated
        return (known[last - 1] if last <= len(known) else self._read_conflated()) - known[first - 1]


def judge(client: Client, published: Published) -> list[Answer]:
    """Return the answers that `client` got; raises `WrongError` where they are not what it must have got."""
    answers = read_answers(client.got, client.asks)
    if client.stays:
        expected = len(client.asks) if client.at_least is None else client.at_least
        if len(answers) < expected or not all(answer.whole for answer in answers):
            raise WrongError(f"cut after {len(answers)} of {expected} answers: {client.got[-60:]!r}")
    known, moment = published.at(client.began), client.began
    for answer in answers:
        if any((version - FIRST) % STEP or not FIRST < version <= published.newest for version in answer.versions):
            raise WrongError("a version that was never published")
        if answer.ask.body in {Body.CHUNKS, Body.UNTIL_CLOSE}:
            moment += answer.lifetime  # a lower bound of its end: the next begins behind it
            _judge_stream(answer, known, published.at(moment) if answer.whole and client.stays else 0)
            _judge_gaps(answer, published)
            known = max((known, *answer.versions))
    return answers


def _judge_stream(answer: Answer, at_first: int, at_last: int) -> None:
    if answer.versions and answer.versions[0] < at_first:
        raise WrongError(f"began with {answer.versions[0]}, {(at_first - answer.versions[0]) // STEP} behind")
    told = answer.versions[-1] if answer.versions else 0
    if told < at_last:
        raise WrongError(f"ended with {told}, without the newest, {at_last}")


def _judge_gaps(answer: Answer, published: Published) -> None:
    """Compare what a stream was not told with what the server says that slow streams were not told meanwhile."""
    for before, after in itertools.pairwise(answer.versions):
        missed = (after - before) // STEP - 1
        if missed > published.conflated_between(before, after):
            raise WrongError(f"missed {missed} versions behind {before}, in place of which nothing newer was sent")
