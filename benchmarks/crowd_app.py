"""An app with many FlagClients in one process, told by lines on its standard input what to do.

    python -m benchmarks.crowd_app API_URL KEY own|shared

``open N`` opens clients and waits for their flags, ``watch`` calls back on every change, ``held VALUE`` waits until
every client has called back with that value. Each is answered by a line of JSON; times are CLOCK_MONOTONIC's.
`shared` gives all clients one httpx client, `own` leaves each its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import httpx

from benchmarks.machine import allow_open_files
from sdk_client import Change, FlagClient

AT_ONCE = 50
SECONDS = 60


async def main(arguments: Sequence[str]) -> None:
    """Answer commands until the input ends."""
    url, key, kind = arguments
    clients: list[FlagClient] = []
    seen: dict[object, list[float]] = {}
    turn = asyncio.Semaphore(AT_ONCE)

    def note(change: Change) -> None:
        seen.setdefault(change.value, []).append(time.monotonic())

    async def held(value: object) -> None:
        async with asyncio.timeout(SECONDS):
            while len(seen.get(value, ())) < len(clients):
                await asyncio.sleep(0.05)

    async with AsyncExitStack() as stack:
        http = None
        if kind == "shared":
            http = await stack.enter_async_context(httpx.AsyncClient(limits=httpx.Limits(max_connections=None)))

        async def one() -> None:
            async with turn:
                client = FlagClient(environment_key=key, api_url=url, http=http, ready_timeout=SECONDS)
                clients.append(await stack.enter_async_context(client))

        while line := await asyncio.to_thread(sys.stdin.readline):
            command, _, argument = line.strip().partition(" ")
            began, answer = time.monotonic(), {}
            if command == "open":
                await asyncio.gather(*(one() for _ in range(int(argument))))
                async with asyncio.timeout(SECONDS):
                    while not all(client.is_current for client in clients):
                        await asyncio.sleep(0.05)
            elif command == "watch":
                for client in clients:
                    client.on_change(note)
            elif command == "held":
                await held(argument)
                answer["times"] = seen.pop(argument)
            print(json.dumps({"seconds": time.monotonic() - began, **answer}), flush=True)


if __name__ == "__main__":
    allow_open_files()
    asyncio.run(main(sys.argv[1:]))
