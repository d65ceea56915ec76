"""A server that does what a script says: each stream request gets the next script, and the last one for ever after.

Scripts are coroutines over a `Peer`, which writes raw bytes to a real TCP connection. Documents are answered from
`server.state`, or by the next of `server.document_scripts`.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

Script = Callable[["Peer"], Awaitable[None]]

KEY = "env-key"
TLS_HELLO = b"\x16"
V1 = 1_735_229_888_760_123
V2 = V1 + 7
V3 = V2 + 1_000_000


def number(version: int) -> str:
    from publisher.messages import wire_number  # noqa: PLC0415 - the other side of the wire, on purpose

    return wire_number(version)


def event(version: int) -> bytes:
    return f'event: environment_updated\ndata: {{"updated_at": {number(version)}}}\n\n'.encode()


@dataclass
class Request:
    path: str
    query: str
    headers: dict[str, str]
    at: float
    body: bytes = b""


class Peer:
    """The server's end of one request."""

    def __init__(self, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.request = Request("", "", {}, 0.0)
        self._reader = reader
        self._writer = writer

    async def head(self, status: int = 200, content_type: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", "Transfer-Encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def send(self, body: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(body), body))

    async def event(self, version: int) -> None:
        await self.send(event(version))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def cut(self) -> None:
        self._writer.transport.abort()

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hold(self) -> None:
        """Stay until the client goes or the server stops."""
        await self._reader.read()
        await self.cut()


async def follow(peer: Peer) -> None:
    """A good stream: the newest version, then every change, for ever. The usual last script."""
    await peer.head(X_Stream_Lifetime="3600")
    await tell(peer)


async def tell(peer: Peer) -> None:
    """The body of a good stream, until the client goes."""
    sent = 0
    while not peer._writer.is_closing():
        if peer.server.version > sent:
            sent = peer.server.version
            await peer.event(sent)
        changed = asyncio.ensure_future(peer.server.changed.wait())
        gone = asyncio.ensure_future(peer.hold())
        await asyncio.wait([changed, gone], return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        gone.cancel()
        await asyncio.gather(changed, gone, return_exceptions=True)


def answers(status: int, body: bytes = b"", **headers: str) -> Script:
    async def script(peer: Peer) -> None:
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await peer.raw(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)

    return script


async def cuts(peer: Peer) -> None:
    await peer.cut()


@dataclass
class ScriptedServer:
    """`version` and `features` are the truth; `announce` changes them and tells the streams that follow."""

    scripts: list[Script] = field(default_factory=list)
    document_scripts: list[Script] = field(default_factory=list)
    version: int = V1
    labelled: bool = True
    etags: bool = False
    segments: list[dict[str, Any]] = field(default_factory=list)
    features: dict[str, tuple[bool, Any]] = field(default_factory=lambda: {"banner": (True, "a")})
    requests: list[Request] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def streams(self) -> list[Request]:
        return [request for request in self.requests if request.path.startswith("/sse/")]

    @property
    def identities(self) -> list[Request]:
        return [request for request in self.requests if request.path == "/api/v1/identities/"]

    @property
    def documents(self) -> list[Request]:
        return [request for request in self.requests if request.path == "/api/v1/flags/"]

    def announce(self, version: int, **features: Any) -> None:
        self.version = version
        for name, value in features.items():
            self.features[name] = (True, value)
        self.changed.set()
        self.changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def listen(self) -> None:
        self._peers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections from now on and cut those there are."""
        self._server.close()
        for writer in [*self._peers]:
            writer.transport.abort()
        async with asyncio.timeout(30):
            while self._peers:
                await asyncio.sleep(0.005)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.add(writer)
        try:
            while not writer.is_closing():
                first = await reader.readexactly(1)
                if first == TLS_HELLO:
                    break  # as a server does that cannot speak TLS
                await self._answer(first + await reader.readuntil(b"\r\n\r\n"), Peer(self, reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._peers.discard(writer)
            writer.close()

    async def _answer(self, head: bytes, peer: Peer) -> None:
        first, *lines = head.decode().split("\r\n")
        path, _, query = first.split(" ")[1].partition("?")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await peer._reader.readexactly(int(headers.get("content-length", "0")))
        peer.request = Request(path, query, headers, asyncio.get_running_loop().time(), body)
        self.requests.append(peer.request)
        if path.startswith("/sse/"):
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0] if self.scripts else follow
        elif path == "/api/v1/environment-document/":
            script = serve_environment
        elif path == "/api/v1/identities/":
            script = serve_identity
        else:
            script = self.document_scripts.pop(0) if self.document_scripts else serve_document
        await script(peer)


def flags_of(features: dict[str, tuple[bool, Any]]) -> list[dict[str, Any]]:
    return [
        {"feature": {"id": i, "name": name, "type": "STANDARD"}, "enabled": enabled, "feature_state_value": value}
        for i, (name, (enabled, value)) in enumerate(features.items())
    ]


def document(features: dict[str, tuple[bool, Any]]) -> bytes:
    return json.dumps(flags_of(features)).encode()


async def serve_document(peer: Peer) -> None:
    server = peer.server
    headers = {"X_Flagstream_Version": str(server.version)} if server.labelled else {}
    body = document(server.features)
    if server.etags:
        headers["ETag"] = f'"{zlib.crc32(body):x}"'
        if peer.request.headers.get("if-none-match") == headers["ETag"]:
            await answers(304, b"", **headers)(peer)
            return
    await answers(200, body, **headers)(peer)


async def serve_environment(peer: Peer) -> None:
    """As much of an environment document as is needed, with every feature; none is multivariate, nobody is special."""
    server = peer.server
    states = [
        {
            "feature": {"id": i, "name": name, "type": "STANDARD"},
            "enabled": enabled,
            "feature_state_value": value,
            "featurestate_uuid": f"00000000-0000-0000-0000-{i:012}",
            "multivariate_feature_state_values": [],
        }
        for i, (name, (enabled, value)) in enumerate(server.features.items())
    ]
    environment = {"api_key": KEY, "name": "e", "project": {"segments": server.segments}, "feature_states": states}
    headers = {"X_Flagstream_Version": str(server.version)} if server.labelled else {}
    await answers(200, json.dumps(environment).encode(), **headers)(peer)


async def serve_identity(peer: Peer) -> None:
    """Every feature has the identifier and the traits for its value."""
    server = peer.server
    asked = json.loads(peer.request.body)
    features = {name: (enabled, json.dumps(asked)) for name, (enabled, _) in server.features.items()}
    headers = {"X_Flagstream_Version": str(server.version)} if server.labelled else {}
    await answers(200, json.dumps({**asked, "flags": flags_of(features)}).encode(), **headers)(peer)
