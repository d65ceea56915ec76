"""A generator that is a script: its clients are open as soon as they are told, and every order is written down.

``python scripted_generator.py LOG BEHAVIOUR DESCRIPTOR``: behaviour is ``well``, or what comes instead of the first
sample: ``dies``, ``fails``, or ``lies`` (says what makes no sense).
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from pathlib import Path

import msgspec

from loadtest.histogram import Histogram
from loadtest.messages import (
    Close,
    Ended,
    Failed,
    GroupSample,
    Mark,
    Message,
    Open,
    Ping,
    Pong,
    Published,
    Ready,
    Sample,
    Start,
    Stop,
    Unpacker,
    packed,
)
from loadtest.models import Loss


class Script:
    def __init__(self, log: Path, behaviour: str, channel: socket.socket) -> None:
        self.log = log.open("a", buffering=1)
        self.behaviour = behaviour
        self.channel = channel
        self.start: Start | None = None
        self.open: list[int] = []
        self.opened: list[int] = []
        self.mark = 0
        self.cut = 0
        self.due = float("inf")
        self.unpacker = Unpacker()

    def say(self, message: Message) -> None:
        self.channel.sendall(packed(message))

    def run(self) -> None:
        self.say(Ready(process=-1, pid=os.getpid(), capacity=1000))
        while True:
            readable, _, _ = select.select([self.channel], [], [], max(0.0, min(self.due - time.monotonic(), 60.0)))
            if time.monotonic() >= self.due:
                self.due += 0.25
                self.sample()
            if readable:
                data = self.channel.recv(1 << 20)
                if not data:
                    return
                for order in self.unpacker.feed(data):
                    if self.do(order):
                        return

    def do(self, order: Message) -> bool:
        at = None if self.start is None else time.monotonic() - self.start.began
        told = msgspec.to_builtins(order)
        self.log.write(json.dumps({"received": at, **{key: told[key] for key in told if key != "groups"}}) + "\n")
        match order:
            case Start():
                self.start = order
                self.open = [0] * len(order.groups)
                self.opened = [0] * len(order.groups)
                self.due = time.monotonic() + 0.25
            case Open(group=group, count=count):
                self.open[group] += count
                self.opened[group] += count
            case Close(group=group, count=count):
                self.open[group] -= count
            case Mark(fault=fault):
                self.mark = fault
                self.cut = 1
            case Ping(sent=sent):
                self.say(Pong(sent=sent, at=time.monotonic() + 1000.0))
            case Published():
                pass
            case Stop():
                self.sample()
                self.say(Ended(process=self.number, lost=[0] * len(self.open)))
                return True
        return False

    @property
    def number(self) -> int:
        assert self.start is not None
        return self.start.process

    def sample(self) -> None:
        assert self.start is not None
        if self.behaviour == "dies":
            sys.exit("the script says so")
        if self.behaviour == "fails":
            self.say(Failed(process=self.number, reason="the script says so"))
        if self.behaviour == "lies":
            self.channel.sendall(b"\x00\x00\x00\x04nope")
        groups = []
        for index, count in enumerate(self.open):
            delivery = Histogram()
            if count:
                delivery.record(0.01)
            groups.append(
                GroupSample(
                    clients=count,
                    open=count,
                    opened=self.opened[index],
                    requests=self.opened[index],
                    delivery=delivery.pairs(),
                    deliveries=delivery.count,
                    lost={int(Loss.CUT): self.cut} if self.cut else {},
                    broken={self.mark: self.cut} if self.cut else {},
                )
            )
        self.opened = [0] * len(self.open)
        self.cut = 0
        self.say(
            Sample(
                process=self.number,
                at=time.monotonic() - self.start.began,
                groups=groups,
                cpu=0.1,
                rss=1 << 20,
                busy=0.1,
                late=0.001,
                loop=0.001,
            )
        )


if __name__ == "__main__":
    Script(Path(sys.argv[1]), sys.argv[2], socket.socket(fileno=int(sys.argv[3]))).run()
