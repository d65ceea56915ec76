"""An app on our client without asyncio: prints what it sees each time that this changes."""

from __future__ import annotations

import sys
import time

from sdk_client.sync import SyncFlagClient

base, key, feature = sys.argv[1:]
shown = None
with SyncFlagClient(environment_key=key, api_url=base, heartbeat=1.0, poll_interval=4.0) as client:
    while True:
        now = client.value(feature)
        if now != shown:
            shown = now
            print(time.time(), now, flush=True)
        time.sleep(0.02)
