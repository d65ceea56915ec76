"""Which client a connection comes from, when proxies may stand in between.

Only ``X-Forwarded-For`` is read. RFC 7239's ``Forwarded`` is not: a proxy writes one of the two and passes the other
on as the client sent it, so reading both would let every client choose its address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

__all__ = ["Addresses", "network_fault"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAPPED: Final = 96
"""Bits before the IPv4 address in an IPv6 address that maps one (RFC 4291, 2.5.5.2)."""

SUBSCRIBER: Final = 8
"""Bytes of an IPv6 address that stand for one subscriber: whoever has a /64 has all its addresses (RFC 6177)."""

LONGEST: Final = 64
"""Characters of an address with brackets, zone and port; what is longer is none, and is not remembered whole."""

REMEMBERED: Final = 1024
"""Addresses that need not be read again; about 300 KiB."""


def network_fault(text: str) -> str:
    """Say what keeps `text` from being an address or a network; empty if nothing."""
    try:
        ip_network(text)
    except ValueError:
        try:
            meant = ip_network(text, strict=False)
        except ValueError:
            return f'"{text}" is no address and no network; write it like 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32'
        return f'"{text}" has bits beyond its prefix; write {meant} for the network'
    return ""


class Addresses:
    """Tells clients apart; `trusted` are the addresses and networks of proxies that say whom they forward for."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = [_plain_network(ip_network(text)) for text in trusted]
        self._is_trusted = lru_cache(REMEMBERED)(self._look)  # a storm comes through the same few proxies

    def client(self, scope: Mapping[str, Any]) -> bytes | None:
        """Return the bytes of the client's address, of an IPv6 one its /64, or None where the ASGI scope has none.

        That is the peer of the connection, unless it is a trusted proxy: then the last address in
        ``X-Forwarded-For`` that is not one. What is malformed there is charged to the proxy that passed it on.
        """
        peer = scope.get("client")
        address = _address(peer[0]) if peer else None
        if address is None:
            return None
        if self._trusted and self._is_trusted(address):
            for text in _forwarded(scope["headers"]):
                before = _address(text)
                if before is None:
                    break
                address = before
                if not self._is_trusted(address):
                    break
        return address.packed if address.version == 4 else address.packed[:SUBSCRIBER]  # noqa: PLR2004 - IPv4

    def _look(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[str]:
    """Yield the entries of ``X-Forwarded-For``, last first, one at a time: the client decides how many there are."""
    rest = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    while rest:
        rest, _, last = rest.rpartition(",")
        yield last.strip()[:LONGEST]


@lru_cache(REMEMBERED)
def _address(text: str) -> Address | None:
    """Read an address as proxies write it: with a port, in brackets or bare; None if it is none."""
    text = text.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def _plain_network(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= MAPPED:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - MAPPED))
    return network
