"""Clients that vanish without a word: nothing closes their connection, so nothing but time can tell."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers import missing
from tests.stream_server.raw import Running, open_stream, running, settings_for, stream_path, until

pytestmark = pytest.mark.asyncio

VERSION = 1735229888760123

CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(b"GET " + sys.argv[3].encode() + b" HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
while data := connection.recv(65536):
    print(len(data), flush=True)
"""


class Host:
    """A host of its own on this machine: a network namespace and a cable to it."""

    def __init__(self, name: str, ours: str, its: str) -> None:
        self.name = name
        self.ours = ours
        self.its = its

    def run(self, *command: str) -> None:
        subprocess.run(["ip", "-n", self.name, *command], check=True)

    def vanish(self) -> None:
        """Let nothing that it sends leave it any more."""
        self.run("route", "add", "blackhole", self.ours)


@contextmanager
def another_host() -> Iterator[Host]:
    if shutil.which("ip") is None:
        missing("ip", "iproute2")
    if os.geteuid() != 0:
        pytest.skip("only root may make network namespaces")
    name = f"flag{secrets.token_hex(3)}"
    net = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
    host = Host(name, f"{net}.1", f"{net}.2")
    try:
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "link", "add", f"{name}a", "type", "veth", "peer", f"{name}b", "netns", name], check=True)
        subprocess.run(["ip", "address", "add", f"{host.ours}/24", "dev", f"{name}a"], check=True)
        subprocess.run(["ip", "link", "set", f"{name}a", "up"], check=True)
        host.run("address", "add", f"{host.its}/24", "dev", f"{name}b")
        host.run("link", "set", f"{name}b", "up")
        yield host
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


@contextmanager
def client_on(host: Host, server: Running) -> Iterator[subprocess.Popen[bytes]]:
    port = server.url.rpartition(":")[2]
    command = ["ip", "netns", "exec", host.name, sys.executable, "-c", CLIENT, host.ours, port, stream_path("abc")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        os.set_blocking(client.stdout.fileno(), False)
        try:
            yield client
        finally:
            client.kill()


async def test_stream_of_a_client_that_vanished_is_given_up_and_no_other() -> None:
    settings = settings_for(heartbeat=0.5, lifetime=60, peer_timeout=2)
    with another_host() as host:
        async with running(settings, host=host.ours) as server, await open_stream(server.url) as other:
            with client_on(host, server) as vanishing:
                assert vanishing.stdout is not None
                await until(lambda: server.parts.hub.open == 2, "both streams")
                await until(vanishing.stdout.readline, "the first bytes")
                host.vanish()
                await until(lambda: server.parts.hub.open == 1, "the end of the one", 15)
                assert server.parts.metrics.streams_ended.labels("client")._value.get() == 1
                assert vanishing.poll() is None, "it never heard of the end"
            server.parts.hub.dispatch("abc", VERSION)
            await other.until(VERSION)
