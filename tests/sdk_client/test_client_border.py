"""What others' code does at the client's border (httpx, transports, hooks, threads) never ends the client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from sdk_client import Fetch, Hooks, Source, Status
from tests.sdk_client.scripted import V2, Peer, Script, ScriptedServer, follow
from tests.sdk_client.test_client import client_of, until


def redirect(location: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.raw(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location)

    return script


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "location",
    [b"http://127.0.0.1:99999/", b"http://xn--a/", b"http://x..y/", b"http://[::1"],
    ids=["port", "idna", "label", "bracket"],
)
async def test_no_redirect_is_so_strange_that_it_ends_the_client(location: bytes) -> None:
    server = ScriptedServer([redirect(location), follow], document_scripts=[redirect(location)])
    async with server, client_of(server) as client:
        await until(lambda: client.is_current)
        assert client.counts.stream_errors == client.counts.fetch_errors == 1
        server.document_scripts += [redirect(location)]
        assert (await client.identity("user")).is_enabled("banner")


class Unwell(httpx.AsyncHTTPTransport):
    """Raises what no transport should, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 3

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.left:
            self.left -= 1
            raise ZeroDivisionError
        return await super().handle_async_request(request)


@pytest.mark.asyncio
async def test_a_transport_of_ones_own_may_raise_anything_and_is_tried_again() -> None:
    async with (
        ScriptedServer() as server,
        httpx.AsyncClient(transport=Unwell()) as http,
        client_of(server, http=http) as client,
    ):
        await until(lambda: client.is_current)
        assert client.counts.stream_errors + client.counts.fetch_errors == 3


@pytest.mark.asyncio
async def test_a_http_client_that_was_closed_meanwhile_costs_no_flags() -> None:
    async with ScriptedServer() as server, httpx.AsyncClient() as http, client_of(server, http=http) as client:
        await until(lambda: client.is_current)
        await http.aclose()
        await until(lambda: client.counts.stream_errors > 3)
        assert client.value("banner") == "a"
        assert client.status is not Status.CLOSED


class Cancelled(Hooks):
    """Reads the result of a future that was cancelled, after every fetch."""

    def on_fetch(self, fetch: Fetch) -> None:  # noqa: ARG002 - the hook's signature
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        future.result()


@pytest.mark.asyncio
async def test_a_hook_that_raises_cancellation_cancels_nothing_of_the_clients() -> None:
    async with ScriptedServer() as server, client_of(server, hooks=Cancelled()) as client:
        await until(lambda: client.is_current)
        server.announce(V2, banner="b")
        await until(lambda: client.value("banner") == "b")
        assert client.counts.hook_errors >= 2


@pytest.mark.asyncio
async def test_a_machine_without_threads_to_give_gives_flags_and_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with ScriptedServer() as server, httpx.AsyncClient() as http:
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", none_left)
        async with client_of(server, http=http, cache=tmp_path / "flags.json") as client:
            await until((tmp_path / "flags.json").exists)
            server.features["large"] = (True, "x" * 600_000)
            server.announce(V2)
            await until(lambda: client.version == V2)


class Counting(ScriptedServer):
    """Counts connections, and may keep identities waiting."""

    connections = 0
    mute = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await super()._serve(reader, writer)

    async def _answer(self, head: bytes, peer: Peer) -> None:
        if self.mute and b"/identities/" in head:
            await peer.hold()
        await super()._answer(head, peer)


@pytest.mark.asyncio
async def test_a_crowd_of_identities_shares_a_few_connections() -> None:
    async with Counting() as server, client_of(server) as client:
        crowd = [client.identity(f"user-{number}") for number in range(60)]
        assert {flags.source for flags in await asyncio.gather(*crowd)} == {Source.SERVER}
        assert server.connections <= 12


@pytest.mark.asyncio
async def test_identities_that_are_not_answered_hold_up_no_flags() -> None:
    async with Counting() as server, client_of(server, request_timeout=60.0) as client:
        await until(lambda: client.is_current)
        server.mute = True
        crowd = [asyncio.ensure_future(client.identity(f"user-{number}")) for number in range(60)]
        await until(lambda: server.connections >= 8)
        server.announce(V2, banner="b")
        await until(lambda: client.value("banner") == "b")
        await client.aclose()
        assert {flags.source for flags in await asyncio.gather(*crowd)} == {Source.ENVIRONMENT}
