"""Whether the programs of an embedded stack answer yet, each asked in its own words."""

from __future__ import annotations

import asyncio

import httpx

from flagstream.cli.ports import HOST

__all__ = ["answers", "nats_greets", "redis_answers"]


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    """Say whether a URL is answered with success."""
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


async def nats_greets(port: int) -> bool:
    """Say whether NATS accepts clients: then it sends INFO by itself (NATS client protocol)."""
    return (await _said(port)).startswith(b"INFO")


async def redis_answers(port: int) -> bool:
    """Ask for a PONG: LOADING may come first (Redis serialization protocol, inline commands)."""
    return (await _said(port, b"PING\r\n")).startswith(b"+PONG")


async def _said(port: int, asked: bytes = b"") -> bytes:
    """Return the first words of a server to whoever connects and asks, empty while it has none."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return b""
    try:
        writer.write(asked)
        return await reader.read(16)
    except ConnectionError:
        return b""
    finally:
        writer.close()
