from __future__ import annotations

import os
import socket
from time import monotonic

from loadtest.swarm.loop import Loop


class Taker:
    """Counts what it is told; `then` is done at the first."""

    def __init__(self) -> None:
        self.handled = 0
        self.fired: list[float] = []

    def handle(self, mask: int) -> None:
        del mask
        self.handled += 1

    def fire(self, kind: int, when: float, now: float) -> None:
        del kind, when
        self.fired.append(now)


def test_what_the_kernel_told_of_a_number_is_not_for_who_gets_that_number_in_the_same_turn() -> None:
    loop, taker = Loop(), Taker()
    pairs = [socket.socketpair() for _ in range(2)]
    opened: list[socket.socket] = []

    class Replaces:
        """Whoever of the two comes first closes the other, and opens a connection of its number."""

        def __init__(self, other: int) -> None:
            self.other = other

        def handle(self, mask: int) -> None:
            del mask
            os.read(pairs[1 - self.other][0].fileno(), 1)
            number = pairs[self.other][0].detach()
            loop.forget(number)
            os.close(number)
            opened.extend(socket.socketpair())
            assert opened[0].fileno() == number
            loop.watch(number, taker)
            loop.at(0.0, Stops())

    class Stops:
        def fire(self, kind: int, when: float, now: float) -> None:
            del kind, when, now
            loop.stop()

    for mine, (ours, theirs) in enumerate(pairs):
        loop.watch(ours.fileno(), Replaces(1 - mine))
        theirs.send(b"x")
    loop.run()
    assert taker.handled == 0
    opened[1].send(b"x")  # and from the next turn on it hears what is its own
    loop.at(0.0, Stops())
    loop._running = True
    loop.run()
    assert taker.handled == 1
    loop.close()
    for each in (*opened, *(one for pair in pairs for one in pair)):
        each.close()


def test_a_timer_is_told_the_moment_at_which_it_fires_and_not_that_of_those_before_it() -> None:
    loop, taker = Loop(), Taker()

    class Slow:
        def fire(self, kind: int, when: float, now: float) -> None:
            del kind, when, now
            self.done = monotonic() + 0.02
            while monotonic() < self.done:
                pass
            loop.stop()

    slow = Slow()
    loop.at(0.0, slow)
    loop.at(0.0, taker)
    loop.run()
    assert taker.fired[0] >= slow.done
    loop.close()
