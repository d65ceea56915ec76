"""Noticing that the network changed under a stream: it may be dead, and nothing would tell for a long time.

Which local address leads to a peer is the kernel's to say, and it says so without sending anything: a UDP socket that
is connected has chosen its route (connect(2), getsockname(2)). Once every beat it is asked about each peer, for all
streams to that peer together.

Told is a change of the answer, and any answer after there was no way to the peer. Not seen is a network that goes and
comes back with the same address between two beats, or one that changes further away: silence on the stream tells of
these.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sdk_client.pulse import PerLoop, Pulse, Subscribers, Unsubscribe, call_each, pulse

__all__ = ["Address", "NetworkWatch", "address_of", "local_address", "networks"]


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 or IPv6 address; `scope` is the number of the interface that a link-local one belongs to, else 0."""

    host: str
    scope: int = 0


@dataclass(slots=True)
class _Stream:
    expected: Address
    callback: Callable[[], object]
    was_cut_off: bool = False

    def has_changed(self, found: Address | None) -> bool:
        """Take the kernel's answer; tell whether it is another network."""
        if found is None:  # told when there is a way again: until then a new stream would fail
            self.was_cut_off = True
            return False
        changed = self.was_cut_off or found != self.expected
        self.expected, self.was_cut_off = found, False
        return changed


def local_address(peer: Address) -> Address | None:
    """Return the local address that leads to `peer`, None where nothing does; raises OSError if it cannot be asked."""
    family = socket.AF_INET6 if ":" in peer.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer.host, _PORT, 0, peer.scope) if family == socket.AF_INET6 else (peer.host, _PORT))
        except OSError:
            return None
        return address_of(probe.getsockname())


class NetworkWatch:
    """Calls back, on the event loop, when the network under a stream changed; `ask` finds the way to a peer."""

    def __init__(self, beats: Pulse, ask: Callable[[Address], Address | None] = local_address) -> None:
        self._pulse = beats
        self._ask = ask
        self._peers: dict[Address, Subscribers[_Stream]] = {}
        self._stop: Unsubscribe | None = None

    def subscribe(self, local: Any, peer: Any, callback: Callable[[], object]) -> Unsubscribe:
        """Call `callback` at each change under a stream from `local` to `peer`; return what ends that.

        Both are socket addresses as ``getsockname`` and ``getpeername`` give them. Peers on this machine (loopback,
        Unix sockets) are never asked about. What the callback raises is logged.
        """
        here, there = address_of(local), address_of(peer)
        if here is None or there is None or ipaddress.ip_address(there.host).is_loopback:
            return lambda: None
        # Where the stream's own address is not the kernel's answer (a bound socket, routes for TCP alone), waiting for
        # the answer to become that address would take every new stream for a change, and open another.
        stream = _Stream(self._asked(there, otherwise=here) or here, callback)
        streams = self._peers.setdefault(there, Subscribers())
        remove = streams.add(stream)
        if self._stop is None:
            self._stop = self._pulse.subscribe(self._look)

        def unsubscribe() -> None:
            if remove() and not streams:
                del self._peers[there]
                self._rest()

        return unsubscribe

    def _rest(self) -> None:
        if not self._peers and self._stop is not None:
            self._stop()
            self._stop = None

    def _look(self) -> None:
        for peer, streams in list(self._peers.items()):  # a copy: who is called may subscribe and unsubscribe
            try:
                found = self._ask(peer)
            except OSError:  # out of file descriptors, say, which tells nothing of the network
                continue
            call_each(stream.callback for stream in streams if stream.has_changed(found))

    def _asked(self, peer: Address, *, otherwise: Address) -> Address | None:
        try:
            return self._ask(peer)
        except OSError:
            return otherwise


def address_of(name: Any) -> Address | None:
    """Return the address in a socket address ``(host, port[, flow, scope])``, None where it is of another kind.

    A link-local one without the last two may have its interface behind a ``%``, as anyio gives it.
    """
    match name:
        case (str(host), int(), *rest):
            try:
                host, _, zone = host.partition("%")
                ip = ipaddress.ip_address(host)
            except ValueError:
                return None
            if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
                return Address(str(ip.ipv4_mapped))
            return Address(str(ip), rest[1] if len(rest) > 1 else _interface(zone))
    return None


def _interface(zone: str) -> int:
    try:
        return int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    except OSError:
        return 0


_PORT: Final = 9  # discard; nothing is sent to it, but some systems refuse 0

networks: Final = PerLoop(lambda loop: NetworkWatch(pulse(loop)))
"""Returns the `NetworkWatch` of an event loop."""
