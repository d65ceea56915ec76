"""An app on the published Flagsmith Python SDK, of any version: prints what it sees each time that this changes."""

import logging
import sys
import time

from flagsmith import Flagsmith

logging.disable(logging.CRITICAL)
base, server_key, feature = sys.argv[1:]
client = Flagsmith(
    environment_key=server_key,
    api_url=f"{base}/api/v1/",
    realtime_api_url=base,
    enable_local_evaluation=True,
    enable_realtime_updates=True,
)
shown = None
while True:
    now = client.get_environment_flags().get_feature_value(feature)
    if now != shown:
        shown = now
        print(time.time(), now, flush=True)
    time.sleep(0.02)
