"""The client SDK: an environment's flags in your program, followed live over the stream.

`FlagClient` loads the flags, keeps them in memory, hears of every change by server-sent events, fetches once, and
calls back; `SyncFlagClient` is the same for code without asyncio. It imports nothing of Flagstream's servers, and
httpx is its only dependency but for extras. What it decides (decoding, reconnecting, refetching) lives in modules
without I/O, joined in `sdk_client.subscription`, which any other shell may drive. `js/` is the same for browsers.
"""

from sdk_client.awaiting import Changes
from sdk_client.blocking import BlockingChanges
from sdk_client.changes import Change
from sdk_client.client import FlagClient
from sdk_client.errors import (
    ClientStoppedError,
    ConfigurationError,
    DocumentError,
    FlagClientError,
    KeyRefusedError,
    NotReadyError,
    StreamLimitError,
    ValueTypeError,
)
from sdk_client.flags import Flag, Flags, Source
from sdk_client.hooks import Fetch, FetchOutcome, Hooks, StreamOpened, Update
from sdk_client.listeners import Callback
from sdk_client.reconnect import Backoff, End, EndKind
from sdk_client.status import Status
from sdk_client.sync import SyncFlagClient
from sdk_client.updater import Counts

__all__ = [
    "Backoff",
    "BlockingChanges",
    "Callback",
    "Change",
    "Changes",
    "ClientStoppedError",
    "ConfigurationError",
    "Counts",
    "DocumentError",
    "End",
    "EndKind",
    "Fetch",
    "FetchOutcome",
    "Flag",
    "FlagClient",
    "FlagClientError",
    "Flags",
    "Hooks",
    "KeyRefusedError",
    "NotReadyError",
    "Source",
    "Status",
    "StreamLimitError",
    "StreamOpened",
    "SyncFlagClient",
    "Update",
    "ValueTypeError",
]
