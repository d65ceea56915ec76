"""The client SDK: an environment's flags in your program, followed live over the stream.

`FlagClient` loads the flags, keeps them in memory, hears of every change by server-sent events, fetches once, and
calls back. It imports nothing of Flagstream's servers, and httpx is its only dependency. What it decides (decoding,
reconnecting, refetching) lives in modules without I/O, which any other shell may drive.
"""

from sdk_client.changes import Change, Changes
from sdk_client.client import Callback, FlagClient
from sdk_client.documents import Flag
from sdk_client.errors import (
    ClientStoppedError,
    ConfigurationError,
    DocumentError,
    FlagClientError,
    KeyRefusedError,
    NotReadyError,
    StreamLimitError,
)
from sdk_client.reconnect import Backoff
from sdk_client.updater import Counts

__all__ = [
    "Backoff",
    "Callback",
    "Change",
    "Changes",
    "ClientStoppedError",
    "ConfigurationError",
    "Counts",
    "DocumentError",
    "Flag",
    "FlagClient",
    "FlagClientError",
    "KeyRefusedError",
    "NotReadyError",
    "StreamLimitError",
]
