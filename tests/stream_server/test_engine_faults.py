"""Faults that the engine had, each as a client met it; on uvloop, as the program runs."""

from __future__ import annotations

import uvloop

from tests.stream_server.connections import connected
from tests.stream_server.raw import running, settings_for, stream_path, until

REQUEST = f"GET {stream_path('abc')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_what_is_held_behind_a_stream_is_served_before_what_waits_in_the_kernel() -> None:
    async def ask() -> None:
        async with running(settings_for(lifetime=2)) as server, connected(server.url) as client:
            client.send(REQUEST + b"GET /unknown HTTP/1.1\r\nHo")
            await client.head()
            await until(lambda: server.parts.hub.open == 1, "the stream")
            client.send(b"st: x\r\n\r\nGET /health/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await client.until(b"\r\n0\r\n\r\n")
            assert (await client.head()).startswith(b"HTTP/1.1 404 ")
            assert (await client.head()).split(b"HTTP/1.1 ")[1].startswith(b"200 ")

    uvloop.run(ask())
