"""What varnishstat prints, read: of hundreds of counters those that tell how an edge of streams does.

Source: ``varnish-counters(7)`` of Varnish 7.1 and the JSON of ``varnishstat -1 -j``. Seen with real clients:

- ``MEMPOOL.req*.live`` is the number of requests being answered, which at an edge of streams is the clients. A
  connection that is kept alive without a request, or never sends one, is not in it; a client that vanished is until the
  next heartbeat is written to it.
- ``VBE.*.conn`` is the number of requests under way at a backend, without idle connections.
- ``MAIN.cache_hit`` and its like are told by a thread when its request is over: those of a stream lag by its lifetime.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

__all__ = ["Backend", "Counters", "Store", "UnreadableError", "read"]

WAITING_ROOM: Final = "fs_waiting_room"
DOCUMENTS: Final = "fs_documents_"
"""How site.vcl names the entries of an origin that documents are asked of."""

UNASKED: Final = "_unasked"
"""How site.vcl names the second entry of one, without a probe."""

WINDOW: Final = 0b11
"""The newest probes that count, of which one is enough: `window` and `threshold` in site.vcl."""

_BACKEND: Final = re.compile(r"VBE\.([^.]+)\.(.+)\.([a-z_]+)")
_STORE: Final = re.compile(r"(?:SMA|SMF|SMU)\.(.+)\.(g_bytes|g_space|c_fail)")
_LIVE: Final = re.compile(r"MEMPOOL\.req[0-9]+\.live")


class UnreadableError(Exception):
    """What varnishstat printed is not the counters of a Varnish that serves; the message says what is missing."""


class _Counter(msgspec.Struct):
    value: int


class _Printed(msgspec.Struct):
    counters: dict[str, _Counter]


_decoder = msgspec.json.Decoder(_Printed)


@dataclass(slots=True)
class Backend:
    """One backend over all loaded VCLs: requests under way, and since the start sent and failed to connect.

    `healthy` is None where nothing probes it.
    """

    connections: int = 0
    requests: int = 0
    failures: int = 0
    healthy: bool | None = None


@dataclass(slots=True)
class Store:
    """One storage: bytes used, bytes free, and allocations that failed since the start."""

    used: int = 0
    free: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading. `clients` are streaming now; `backends` and `stores` by name; `main` are the counters of MAIN."""

    clients: int
    backends: Mapping[str, Backend]
    stores: Mapping[str, Store]
    main: Mapping[str, int]

    @property
    def origin_streams(self) -> int:
        """Streams under way at stream servers."""
        streams = (name for name in self.backends if name != WAITING_ROOM and not name.startswith(DOCUMENTS))
        return sum(self.backends[name].connections for name in streams)

    @property
    def waiting_streams(self) -> int:
        """Streams from the waiting room; its clients are among `clients`."""
        found = self.backends.get(WAITING_ROOM)
        return 0 if found is None else found.connections

    @property
    def uptime(self) -> int:
        """Seconds since the process that serves was started."""
        return self.main["uptime"]


def read(printed: bytes) -> Counters:
    """Read what ``varnishstat -1 -j`` printed; raises `UnreadableError`."""
    try:
        values = {name: each.value for name, each in _decoder.decode(printed).counters.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(f"varnishstat printed something else: {error}") from None
    main = {name.removeprefix("MAIN."): value for name, value in values.items() if name.startswith("MAIN.")}
    if "uptime" not in main:
        raise UnreadableError("Varnish's child process does not run")
    return Counters(
        clients=sum(value for name, value in values.items() if _LIVE.fullmatch(name)),
        backends=_backends(values),
        stores=_stores(values),
        main=main,
    )


def _backends(values: Mapping[str, int]) -> dict[str, Backend]:
    """Add up each backend over its VCLs: the streams of one that was replaced run on under the old name."""
    found: dict[str, Backend] = {}
    for name, value in values.items():
        match = _BACKEND.fullmatch(name)
        if match is None:
            continue
        _, own_name, counter = match.groups()
        backend = found.setdefault(own_name.removesuffix(UNASKED), Backend())
        if counter == "conn":
            backend.connections += value
        elif counter == "req":
            backend.requests += value
        elif counter == "fail":
            backend.failures += value
        elif counter == "happy" and own_name != WAITING_ROOM and not own_name.endswith(UNASKED):
            # Probed anew by each VCL: one that was replaced may ask where nobody is any more.
            backend.healthy = bool(value & WINDOW) or bool(backend.healthy)
    return found


def _stores(values: Mapping[str, int]) -> dict[str, Store]:
    found: dict[str, Store] = {}
    for name, value in values.items():
        match = _STORE.fullmatch(name)
        if match is None:
            continue
        store = found.setdefault(match[1], Store())
        if match[2] == "g_bytes":
            store.used = value
        elif match[2] == "g_space":
            store.free = value
        else:
            store.failures = value
    return found
