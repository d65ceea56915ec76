"""A document that everybody fetches at once: what reaches the origin, and how long the clients wait."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.histogram import median
from benchmarks.processes import EndedError
from benchmarks.results import Table
from benchmarks.rows.field import temporary
from publisher.messages import version_of
from tests.programs import Up

__all__ = ["refetch"]

AT_ONCE: Final = 500
"""Handshakes under way; all connections are open before the first request."""


def refetch(*, clients: int = 5000, rounds: int = 5) -> Table:
    """Change a flag, and let all clients fetch the document of that version at once, through Varnish."""
    with temporary() as folder:
        lines, faults = asyncio.run(_rounds(folder, clients, rounds))
    return Table(
        row="edge-refetch",
        title="Every client fetches the document of a new version at once, through Varnish",
        conditions={"clients": clients, "rounds": rounds, "lifetime_s": 30, "heartbeat_s": 15},
        columns=tuple(lines[0]),
        lines=lines,
        target="1 origin request for each environment and version",
        faults=faults,
    )


async def _rounds(folder: Path, clients: int, rounds: int) -> tuple[list[dict[str, object]], list[str]]:
    faults: list[str] = []
    waits: list[list[float]] = []
    with Up(folder / "data", "--edge", "varnish", "--edge-port", "0") as up:
        port, key = int(up.stack["edge"].rpartition(":")[2]), up.stack["environment"]["key"]
        connections = await _connect(port, clients)
        before = _asked(up)
        for number in range(rounds):
            version = version_of(up.toggle(value=str(number))["updated_at"])
            began = time.perf_counter()
            request = (
                f"GET /api/v1/flags/?v={version} HTTP/1.1\r\nHost: edge\r\nX-Environment-Key: {key}\r\n\r\n".encode()
            )
            for _, writer in connections:
                writer.write(request)
            answers = await asyncio.gather(*(_answer(reader, began) for reader, _ in connections))
            waits.append(sorted(seconds for seconds, _ in answers))
            wrong = sum(carried != str(version).encode() for _, carried in answers)
            if wrong:
                faults.append(f"{wrong} clients got another version")
        asked = _asked(up) - before
        for _, writer in connections:
            writer.close()
    if asked != rounds:
        faults.append(f"the origin was asked {asked} times for {rounds} versions")
    line: dict[str, object] = {
        "clients": clients,
        "versions": rounds,
        "origin requests": asked,
        "p50 ms": median(each[len(each) // 2] for each in waits) * 1000,
        "p99 ms": median(each[int(len(each) * 0.99)] for each in waits) * 1000,
    }
    return [line], faults


async def _connect(port: int, clients: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    turn = asyncio.Semaphore(AT_ONCE)

    async def one() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with turn:
            return await asyncio.open_connection("127.0.0.1", port)

    return await asyncio.gather(*(one() for _ in range(clients)))


async def _answer(reader: asyncio.StreamReader, began: float) -> tuple[float, bytes]:
    """Read an answer; return when it was there and the version that it carries."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line.lower().partition(b": ") for line in head.split(b"\r\n")[1:]]
    fields = {name: value for name, _, value in lines}
    if not head.startswith(b"HTTP/1.1 200"):
        raise EndedError(f"a document was answered {head[:60]!r}")
    if b"content-length" in fields:
        await reader.readexactly(int(fields[b"content-length"]))
    else:  # who came while it was on its way
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return time.perf_counter() - began, fields.get(b"x-flagstream-version", b"")


def _asked(up: Any) -> int:
    """Return how many documents the stream server was asked for."""
    text = httpx.get(f"{up.stack['stream']}/metrics").text
    return sum(int(float(each)) for each in re.findall(r"^flagstream_documents_total\S* (\S+)$", text, re.MULTILINE))
