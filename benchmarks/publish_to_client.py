"""Publish to client: from the publisher's answer to a change until a client has it, the whole path.

HTTP, SQLite with a durable commit, outbox, NATS JetStream, stream server, SSE; then the client's own refetch.

    .venv/bin/python benchmarks/publish_to_client.py --changes 200

Brings up its own stack by `flagstream up` on free ports, makes one change every 0.3 s or more, and prints for each
stretch of the path the median and the 99th percentile in milliseconds. All clocks are this machine's monotonic one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from sdk_client import Change, FlagClient
from tests.programs import Up

PAUSE = 0.3
"""Seconds between changes at least: more than `min_interval`, so that each is an event of its own."""


@dataclass
class Times:
    """Monotonic seconds at which each change reached each place, by the number that it carries."""

    sent: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    told: dict[int, float] = field(default_factory=dict)
    held: dict[int, float] = field(default_factory=dict)

    def note_held(self, change: Change) -> None:
        """Note that the client has handed a change to its app."""
        self.held.setdefault(change.value, time.perf_counter())

    def stretch(self, begin: dict[int, float], end: dict[int, float]) -> list[float]:
        """Return the milliseconds between two places for every change that reached both, sorted."""
        return sorted((end[number] - begin[number]) * 1000 for number in begin if number in end)


async def listen(url: str, key: str, told: asyncio.Queue[float]) -> None:
    """Note the moment of every event on one bare stream."""
    async with httpx.AsyncClient(timeout=httpx.Timeout(5, read=60)) as client:
        while True:
            async with client.stream("GET", f"{url}/sse/environments/{key}/stream") as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: "):
                        told.put_nowait(time.perf_counter())


async def measure(up: Up, changes: int) -> Times:
    stack, demo, times = up.stack, up.stack["environment"], Times()
    told: asyncio.Queue[float] = asyncio.Queue()
    path = f"/api/environments/{demo['key']}/features/{demo['feature']}"
    headers = {"Authorization": f"Bearer {stack['admin_token']}"}
    async with (
        httpx.AsyncClient(base_url=stack["publisher"], headers=headers) as api,
        FlagClient(environment_key=demo["key"], api_url=stack["stream"], stream_url=stack["stream"]) as client,
    ):
        client.on_change(times.note_held)
        listening = asyncio.create_task(listen(stack["stream"], demo["key"], told))
        await told.get()  # the opening event: the stream is live
        for number in range(-3, changes):  # the first few only warm up
            while not told.empty():
                told.get_nowait()
            times.sent[number] = time.perf_counter()
            response = await api.patch(path, json={"value": number})
            times.answered[number] = time.perf_counter()
            response.raise_for_status()
            async with asyncio.timeout(10):
                times.told[number] = await told.get()
            await asyncio.sleep(PAUSE + random.uniform(0, 0.1))
        async with asyncio.timeout(10):
            while changes - 1 not in times.held:
                await asyncio.sleep(0.01)
        listening.cancel()
    for table in (times.sent, times.answered, times.told, times.held):
        for number in (-3, -2, -1):
            table.pop(number, None)
    return times


def percentile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def main() -> int:
    parser = argparse.ArgumentParser(description="Latency from publish to client over the whole path.")
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Up(Path(folder)) as up:
        times = asyncio.run(measure(up, arguments.changes))
    rows = {
        "request sent -> answered": times.stretch(times.sent, times.answered),
        "request sent -> event at a bare stream": times.stretch(times.sent, times.told),
        "answered -> event at a bare stream": times.stretch(times.answered, times.told),
        "answered -> FlagClient holds the value": times.stretch(times.answered, times.held),
    }
    figures = {}
    print(f"{arguments.changes} changes, {PAUSE} s or more apart, one machine, milliseconds")
    for name, values in rows.items():
        figures[name] = {
            "n": len(values),
            "p50": round(statistics.median(values), 2),
            "p99": round(percentile(values, 0.99), 2),
            "max": round(values[-1], 2),
        }
        print(f"  {name:<42} n={len(values)}  p50 {figures[name]['p50']:6.2f}  p99 {figures[name]['p99']:6.2f}")
    # Between two streams (0 to 2 s, every 30 s) a client is told of nothing; it then gets the newest and no older one.
    print(f"  superseded while FlagClient was between two streams: {arguments.changes - len(times.held)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
