"""Streams over TLS that the server ends itself, on uvloop, as the program runs."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from flagstream.settings import SettingsError
from publisher.messages import version_of
from stream_server.certificate import ENCRYPTED, NO_PAIR, NO_PEM
from tests.servers import missing
from tests.stream_server.connections import Socket
from tests.stream_server.raw import NUMBER, Running, running, settings_for, stream_path, until

VERSION = 1735229888760123
STREAM = f"GET {stream_path('abc')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
LAST_STREAM = f"GET {stream_path('abc')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
UNKNOWN = b"GET /unknown HTTP/1.1\r\nHost: x\r\n\r\n"
END = b"\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and its key, in one file."""
    if shutil.which("openssl") is None:
        missing("openssl", "openssl")
    folder = tmp_path_factory.mktemp("tls")
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*request.split(), "-keyout", "key", "-out", "certificate"], cwd=folder, check=True, capture_output=True
    )
    both = folder / "both"
    both.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return both


@asynccontextmanager
async def serving(certificate: Path, lifetime: float = 3) -> AsyncIterator[Running]:
    both = str(certificate)
    async with running(settings_for(lifetime=lifetime, tls_certificate=both, tls_key=both)) as server:
        yield server


@asynccontextmanager
async def connected(server: Running, certificate: Path, *, receive_buffer: int = 0) -> AsyncIterator[Socket]:
    plain = socket.socket()
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", server.port))
    context = ssl.create_default_context(cafile=certificate)
    reader, writer = await asyncio.open_connection(sock=plain, ssl=context, server_hostname="localhost", limit=4096)
    try:
        yield Socket(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def test_stream_is_handed_off_told_the_newest_and_ended_with_its_connection_alive(certificate: Path) -> None:
    async def ask() -> None:
        async with serving(certificate) as server, connected(server, certificate) as client:
            client.send(STREAM)
            await client.until(b"retry: 2000\n\n")
            assert server.parts.hub.open == 1
            assert not server.server.server_state.connections
            server.parts.hub.dispatch("abc", VERSION)
            await client.until(b"environment_updated")
            await client.until(END)
            client.send(UNKNOWN)
            assert (await client.head()).startswith(b"HTTP/1.1 404 ")

    uvloop.run(ask())


def test_requests_behind_a_stream_are_answered_in_their_order_and_the_last_closes(certificate: Path) -> None:
    async def ask() -> None:
        async with serving(certificate) as server, connected(server, certificate) as client:
            client.send(STREAM + UNKNOWN[:12])
            await client.until(b"retry: 2000\n\n")
            client.send(UNKNOWN[12:] + LAST_STREAM)
            await client.until(END)
            assert (await client.head()).startswith(b"HTTP/1.1 404 ")
            assert (await client.rest()).endswith(END)
            assert server.parts.hub.open == 0

    uvloop.run(ask())


def test_client_that_goes_is_forgotten_whichever_way_it_goes(certificate: Path) -> None:
    async def ask() -> None:
        async with (
            serving(certificate, lifetime=30) as server,
            connected(server, certificate) as one,
            connected(server, certificate) as other,
        ):
            for client in (one, other):
                client.send(STREAM)
                await client.until(b"retry: 2000\n\n")
            one.writer.close()
            other.reset()
            await until(lambda: server.parts.hub.open == 0, "the end of both")

    uvloop.run(ask())


def test_client_that_does_not_read_costs_a_bounded_buffer_and_then_gets_the_newest(certificate: Path) -> None:
    async def ask() -> None:
        async with (
            serving(certificate, lifetime=30) as server,
            connected(server, certificate, receive_buffer=4096) as client,
        ):
            client.send(STREAM)
            await client.until(b"retry: 2000\n\n")
            newest = VERSION
            sent = server.parts.metrics.conflated._value.get
            while not sent():
                newest += 1_000_000
                server.parts.hub.dispatch("abc", newest)
                await asyncio.sleep(0)
            buffered = 100 * (newest - VERSION) // 1_000_000
            assert buffered < 1_000_000, "the kernel and the process took all that"
            found = 0
            while found < newest:
                block = await client.until(b"}\n\n")
                number = NUMBER.search(block)
                assert number is not None
                assert version_of(float(number[1])) > found
                found = version_of(float(number[1]))

    uvloop.run(ask())


def keys(folder: Path) -> dict[str, str]:
    """Return files that cannot be used with the certificate of `folder`, by what is wrong with them."""

    def made(command: str, name: str) -> str:
        subprocess.run([*command.split(), "-out", name], cwd=folder, check=True, capture_output=True)
        return str(folder / name)

    (folder / "empty").write_text("")
    return {
        "another": made("openssl ecparam -genkey -name prime256v1", "another"),
        "encrypted": made("openssl ec -in key -aes128 -passout pass:secret", "encrypted"),
        "empty": str(folder / "empty"),
    }


def test_a_certificate_that_cannot_be_used_is_a_fault_of_the_settings(certificate: Path) -> None:
    files = keys(certificate.parent)
    good, key = str(certificate.parent / "certificate"), str(certificate.parent / "key")
    assert settings_for(tls_certificate=good, tls_key=key).tls_key == key
    for wrong, fault in (
        ((good, files["another"]), NO_PAIR),
        ((good, files["encrypted"]), ENCRYPTED),
        ((good, files["empty"]), NO_PEM),
        ((key, good), NO_PEM),
    ):
        with pytest.raises(SettingsError) as caught:
            settings_for(tls_certificate=wrong[0], tls_key=wrong[1])
        assert caught.value.faults == [f"tls_certificate and tls_key: {fault}"]
    with pytest.raises(SettingsError, match="give both, or none"):
        settings_for(tls_certificate=good)
    with pytest.raises(SettingsError, match="tls_key: there is no file"):
        settings_for(tls_certificate=good, tls_key=key + "x")
