from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sdk_client.network import Address, NetworkWatch, address_of, local_address, networks
from sdk_client.pulse import Pulse, pulse
from tests.sdk_client.lines import Lines
from tests.servers import missing

PEER = ("198.51.100.7", 443)
HERE = ("192.0.2.2", 50000)


class Kernel:
    """Answers by a table, for what a network of this machine cannot be made to do."""

    def __init__(self, **ways: str | None) -> None:
        self.ways = {PEER[0]: "192.0.2.2", **ways}
        self.fails = False
        self.asked: list[str] = []

    def __call__(self, peer: Address) -> Address | None:
        self.asked.append(peer.host)
        if self.fails:
            raise OSError(24, "Too many open files")
        way = self.ways[peer.host]
        return None if way is None else Address(way)


class Scene:
    """A watch whose beats the test gives by hand, and what it told."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.pulse = Pulse(asyncio.get_running_loop(), 3600.0)
        self.watch = NetworkWatch(self.pulse, self.kernel)
        self.told: list[str] = []

    def subscribe(self, name: str, local: Any = HERE, peer: Any = PEER) -> Any:
        return self.watch.subscribe(local, peer, lambda: self.told.append(name))

    def beat(self, way: str | None = "192.0.2.2") -> list[str]:
        self.kernel.ways[PEER[0]] = way
        self.told.clear()
        self.pulse._beat()
        return list(self.told)


@pytest.mark.asyncio
async def test_each_change_is_told_once() -> None:
    scene = Scene()
    scene.subscribe("a")
    assert scene.beat() == []
    assert scene.beat("10.0.0.2") == ["a"]
    assert scene.beat("10.0.0.2") == []
    assert scene.beat("192.0.2.2") == ["a"]


@pytest.mark.asyncio
async def test_a_network_that_is_gone_is_told_when_it_is_back() -> None:
    scene = Scene()
    scene.subscribe("a")
    assert scene.beat(None) == []
    assert scene.beat(None) == []
    assert scene.beat() == ["a"], "though the address is the same"
    assert scene.beat() == []


@pytest.mark.asyncio
async def test_a_stream_that_began_after_the_change_is_not_told_of_it() -> None:
    scene = Scene()
    scene.subscribe("old")
    scene.kernel.ways[PEER[0]] = "10.0.0.2"
    scene.subscribe("new", ("10.0.0.2", 50001))
    assert scene.beat("10.0.0.2") == ["old"]


@pytest.mark.asyncio
async def test_a_stream_whose_address_is_not_the_kernels_choice_is_left_in_peace() -> None:
    scene = Scene()
    scene.subscribe("bound", ("203.0.113.9", 50000))
    assert scene.beat() == []
    assert scene.beat("10.0.0.2") == ["bound"]


@pytest.mark.asyncio
async def test_a_kernel_that_cannot_be_asked_says_nothing_about_the_network() -> None:
    scene = Scene()
    scene.kernel.fails = True
    scene.subscribe("a")
    assert scene.beat("10.0.0.2") == []
    scene.kernel.fails = False
    assert scene.beat() == []


@pytest.mark.asyncio
async def test_a_thousand_streams_to_one_peer_are_one_question_a_beat() -> None:
    scene = Scene()
    ends = [scene.subscribe(str(number), peer=(PEER[0], number)) for number in range(1000)]
    scene.kernel.asked.clear()
    assert len(scene.beat("10.0.0.2")) == 1000
    assert scene.kernel.asked == [PEER[0]]
    for end in ends:
        end()
        end()
    assert not scene.pulse.is_running


@pytest.mark.asyncio
async def test_a_callback_may_leave_and_join_again_and_another_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()

    def fail() -> None:
        raise ZeroDivisionError("of the user's own")

    def move() -> None:
        end()
        scene.subscribe("moved", ("10.0.0.2", 50001))
        scene.told.append("left")

    scene.watch.subscribe(HERE, PEER, fail)
    end = scene.watch.subscribe(HERE, PEER, move)
    scene.subscribe("last")
    assert scene.beat("10.0.0.2") == ["left", "last"]
    assert "of the user's own" in caplog.text
    assert scene.beat() == ["last", "moved"], "in order of subscription"


@pytest.mark.parametrize(
    "peer",
    [
        ("127.0.0.1", 80),
        ("127.8.8.8", 80),
        ("::1", 80, 0, 0),
        ("::ffff:127.0.0.1", 80, 0, 0),
        "/run/flags.sock",
        "",
        None,
    ],
    ids=["localhost", "127-8", "v6", "mapped", "unix", "unnamed", "none"],
)
@pytest.mark.asyncio
async def test_peers_on_this_machine_are_never_asked_about(peer: Any) -> None:
    scene = Scene()
    end = scene.subscribe("a", peer, peer)
    assert not scene.pulse.is_running
    assert not scene.kernel.asked
    end()


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.2", 80), Address("192.0.2.2")),
        (("2001:DB8:0::1", 80, 0, 0), Address("2001:db8::1")),
        (("fe80::1%eth0", 80, 0, 3), Address("fe80::1", 3)),
        (("fe80::1", 80, 7, 3), Address("fe80::1", 3)),
        (("fe80::1%3", 80), Address("fe80::1", 3)),
        (("fe80::1%lo", 80), Address("fe80::1", socket.if_nametoindex("lo"))),
        (("fe80::1%gone", 80), Address("fe80::1")),
        (("::ffff:192.0.2.2", 80, 0, 0), Address("192.0.2.2")),
        (("flags.example.com", 80), None),
        (("vsock", "x"), None),
        ((3, 1024), None),
        (b"\0abstract", None),
    ],
    ids=[
        "v4",
        "v6",
        "named-scope",
        "scope",
        "anyio",
        "name-only",
        "no-interface",
        "mapped",
        "name",
        "text-port",
        "vsock",
        "abstract",
    ],
)
def test_addresses_are_read_from_what_sockets_say(name: Any, address: Address | None) -> None:
    assert address_of(name) == address


def test_the_kernels_answer_is_the_address_that_tcp_uses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as stream:
        assert local_address(Address("127.0.0.1")) == address_of(stream.getsockname())


@pytest.mark.asyncio
async def test_clients_of_a_loop_share_one_watch() -> None:
    loop = asyncio.get_running_loop()
    assert networks(loop) is networks(loop)
    assert not pulse(loop).is_running


WATCHING = """
import asyncio, socket, sys
from sdk_client.network import NetworkWatch
from sdk_client.pulse import Pulse

async def main():
    beats = Pulse(asyncio.get_running_loop(), 0.02)
    stream = socket.create_connection((sys.argv[1], 4433), timeout=20)
    print(stream.getsockname()[0].partition("%")[0], flush=True)
    watch = NetworkWatch(beats)
    watch.subscribe(stream.getsockname(), stream.getpeername(), lambda: print("changed", flush=True))
    # Each line in is answered after two more beats, so that what came before it was seen.
    beat = asyncio.Semaphore(0)
    beats.subscribe(beat.release)
    while await asyncio.to_thread(sys.stdin.readline):
        while not beat.locked():
            await beat.acquire()
        await beat.acquire(); await beat.acquire()
        print("seen", flush=True)

asyncio.run(main())
"""


class Host:
    """A host of its own on this machine: a network namespace, and a cable from it to another that is the server's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.server = f"{name}s"

    def run(self, command: str, *, on: str = "") -> None:
        subprocess.run(["ip", "-n", on or self.name, *command.split()], check=True)

    @contextmanager
    def watching(self, address: str) -> Iterator[Watching]:
        """Watch a real TCP stream from the host to `address` on the server."""
        serve = "import socket, sys\nserver = socket.create_server((sys.argv[1], 4433), family=int(sys.argv[2]))\n"
        serve += "print('ready', flush=True)\nkept = [server.accept() for _ in range(9)]"
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        wanted = ["::" if ":" in address else "0.0.0.0", str(int(family))]
        inside = [sys.executable, "-c"]
        with subprocess.Popen(
            ["ip", "netns", "exec", self.server, *inside, serve, *wanted], stdout=subprocess.PIPE, bufsize=0
        ) as server:
            try:
                Lines(server).until("ready")
                with subprocess.Popen(
                    ["ip", "netns", "exec", self.name, *inside, WATCHING, address],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                ) as client:
                    try:
                        yield Watching(client)
                    finally:
                        client.kill()
            finally:
                server.kill()


class Watching:
    """The process that watches."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        self._stdin = process.stdin
        self._lines = Lines(process)

    def connected_from(self, address: str) -> None:
        self._lines.until(address)

    def told(self) -> list[str]:
        """Return what it has told since the last time, everything until now included."""
        self._stdin.write(b"?\n")
        return self._lines.until("seen")[:-1]


@pytest.fixture
def host() -> Iterator[Host]:
    if shutil.which("ip") is None:
        missing("ip", "iproute2")
    if os.geteuid() != 0:
        pytest.skip("only root may make network namespaces")
    host = Host(f"flag{secrets.token_hex(3)}")
    try:
        for name in (host.name, host.server):
            subprocess.run(["ip", "netns", "add", name], check=True)
        host.run(f"link add c type veth peer s netns {host.server}")
        host.run("link set c up")
        host.run("link set s up", on=host.server)
        yield host
    finally:
        for name in (host.name, host.server):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def test_another_ipv4_address_is_noticed_and_nothing_else(host: Host) -> None:
    host.run("address add 10.7.0.1/24 dev s", on=host.server)
    host.run("address add 10.7.0.2/24 dev c")
    with host.watching("10.7.0.1") as watching:
        watching.connected_from("10.7.0.2")
        assert watching.told() == []
        host.run("address add 10.8.0.2/24 dev c")
        assert watching.told() == [], "it is the way to somewhere else"
        host.run("address add 10.7.0.3/24 dev c")
        assert watching.told() == [], "the first address is still there"
        host.run("address flush dev c")
        host.run("address add 10.7.0.4/24 dev c")
        assert watching.told() == ["changed"]


def test_a_network_that_goes_and_comes_back_is_noticed(host: Host) -> None:
    host.run("address add 10.7.0.1/24 dev s", on=host.server)
    host.run("address add 10.7.0.2/24 dev c")
    with host.watching("10.7.0.1") as watching:
        watching.connected_from("10.7.0.2")
        host.run("link set c down")
        assert watching.told() == []
        host.run("link set c up")
        assert watching.told() == ["changed"]


def test_another_route_to_the_server_is_noticed_over_ipv6(host: Host) -> None:
    host.run("address add 2001:db8:5::1/128 dev s nodad", on=host.server)
    host.run("address add 2001:db8:7::1/64 dev s nodad", on=host.server)
    host.run("address add 2001:db8:7::2/64 dev c nodad")
    host.run("route add default via 2001:db8:7::1")
    with host.watching("2001:db8:5::1") as watching:
        watching.connected_from("2001:db8:7::2")
        assert watching.told() == []
        host.run("address add 2001:db8:8::2/64 dev c nodad")
        host.run("route add 2001:db8:5::1 via 2001:db8:7::1 src 2001:db8:8::2")  # as a tunnel does that comes up
        assert watching.told() == ["changed"]


def test_a_link_local_server_is_asked_about_on_its_own_interface(host: Host) -> None:
    host.run("address add fe80::51/64 dev s nodad", on=host.server)
    host.run("address flush dev c")
    host.run("address add fe80::52/64 dev c nodad")
    with host.watching("fe80::51%c") as watching:
        watching.connected_from("fe80::52")
        assert watching.told() == []
        host.run("address flush dev c")
        assert watching.told() == []
        host.run("address add fe80::53/64 dev c nodad")
        assert watching.told() == ["changed"]
