"""An app on our asyncio client: prints what it sees each time that this changes."""

from __future__ import annotations

import asyncio
import sys
import time

from sdk_client import FlagClient


async def main(base: str, key: str, feature: str) -> None:
    shown = None
    async with FlagClient(environment_key=key, api_url=base, heartbeat=1.0, poll_interval=4.0) as client:
        while True:
            now = client.value(feature)
            if now != shown:
                shown = now
                print(time.time(), now, flush=True)
            await asyncio.sleep(0.02)


asyncio.run(main(*sys.argv[1:]))
