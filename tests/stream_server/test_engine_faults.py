"""Faults that the engine had, each as a client met it; on uvloop, as the program runs."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import uvloop

from publisher.messages import version_of
from stream_server.control import Controls
from stream_server.stream import Stream
from tests.stream_server.connections import connected
from tests.stream_server.raw import NUMBER, running, settings_for, stream_path, until

VERSION = 1735229888760123
REQUEST = f"GET {stream_path('abc')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
HEALTH = b"GET /health/liveness HTTP/1.1\r\nHost: x\r\n\r\n"


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


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Take every descriptor that is left for the time of the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 8, limits[1]))
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)


def test_a_refusal_without_descriptors_is_said_and_leaves_the_answers_of_others_alone() -> None:
    async def ask() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with running(settings_for()) as server, connected(server.url) as one, connected(server.url) as other:
            other.send(b"GET /health/liv")
            await until(lambda: len(server.server.server_state.connections) == 2, "the connections")
            with no_descriptors():
                one.send(b"\x00\r\n\r\n")
                other.send(b"eness HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await one.rest()).startswith(b"HTTP/1.1 400 ")
                assert (await other.head()).startswith(b"HTTP/1.1 200 ")
        assert not faults

    uvloop.run(ask())


def test_slow_client_is_told_nothing_of_a_killed_environment_and_the_newest_afterwards() -> None:
    async def ask() -> None:
        loop = asyncio.get_running_loop()
        async with running(settings_for()) as server:
            hub = server.parts.hub
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", server.port))
                await loop.sock_sendall(client, REQUEST)
                await until(lambda: hub.open == 1, "the stream")

                async def last_told() -> int:
                    """Read until nothing came in fifty looks, between which the server has its turns."""
                    told, without = b"", 0
                    while without < 50:
                        try:
                            told, without = told[-200:] + client.recv(65536), 0
                        except BlockingIOError:
                            without += 1
                            await asyncio.sleep(0.01)
                    return version_of(float(NUMBER.findall(told)[-1]))

                [stream] = (member for members in server.parts.wheel._ticks.values() for member in members)
                assert isinstance(stream, Stream)
                kept = VERSION
                while stream._frame is None:
                    kept += 1_000_000
                    hub.dispatch("abc", kept)
                    await asyncio.sleep(0)
                hub.control(Controls(killed=frozenset({"abc"})))
                assert VERSION < await last_told() < kept
                hub.control(Controls())
                assert await last_told() == kept

    uvloop.run(ask())


def test_drain_resets_nobody_who_waits_because_of_a_slow_pace() -> None:
    async def ask() -> None:
        slowly = settings_for(lifetime=2, edge=False, drain=1, accept_pace=2)
        async with running(slowly) as server, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(server.url)) for _ in range(30)]
            for client in clients:
                client.send(REQUEST)
            server.server.stop()
            for client in clients:
                await client.until(b"\r\n0\r\n\r\n")

    uvloop.run(ask())


def test_drain_closes_each_connection_with_the_last_answer_on_it() -> None:
    async def ask() -> None:
        settings = settings_for(lifetime=2, edge=False, drain=4)
        async with (
            running(settings) as server,
            connected(server.url) as client,
            connected(server.url) as listener,
            connected(server.url) as other,
        ):
            for one in (listener, other):
                one.send(REQUEST)
                assert b"connection: close" not in await one.head()
            other.send(HEALTH)
            server.server.stop()
            head = b""
            while b"connection: close" not in head:
                client.send(HEALTH)
                head = await client.head()
                await client.until(b"}")
            assert await client.rest() == b""
            assert (await listener.rest()).endswith(b"\r\n0\r\n\r\n")
            await other.until(b"\r\n0\r\n\r\n")
            assert b"connection: close" in await other.head()
            assert (await other.rest()).endswith(b"}")

    uvloop.run(ask())
