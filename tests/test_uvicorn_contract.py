"""What this project takes from the inside of uvicorn, and that the installed uvicorn still has it.

Our protocols and servers override uvicorn's classes, which promise nothing to those who do. When a test fails here
after an upgrade, its message says which name or behaviour is gone, which of our files needs it and what for. Put it
right there, then move `flagstream.protocol.TESTED_UVICORN` to the new version.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from flagstream.protocol import TESTED_UVICORN, HttpProtocol, untested_uvicorn
from tests.stream_server.connections import Socket, connected

ROOT = Path(__file__).parents[1]

PROTOCOL = "flagstream/protocol.py"
CONNECTION = "stream_server/connection.py"
STREAMS = "stream_server/server.py"
PUBLISHER = "publisher/server.py"


class Part(NamedTuple):
    """One of our classes, what its `self` is of uvicorn's, and the names that are its own though only annotated."""

    file: str
    name: str
    stands_for: str


OURS = [
    Part(PROTOCOL, "HttpProtocol", "protocol"),
    Part(PROTOCOL, "_Flow", "flow"),
    Part(PROTOCOL, "_UntilClose", "cycle"),
    Part(CONNECTION, "Connection", "protocol"),
    Part(STREAMS, "Server", "server"),
    Part(PUBLISHER, "Server", "server"),
]

# What each object of uvicorn must have, and what for. `test_everything_that_is_used_is_listed` keeps it complete.
NEEDED: dict[str, dict[str, str]] = {
    "protocol": {
        "_should_upgrade": "is overridden: requests to upgrade are answered in HTTP/1.1",
        "_unset_keepalive_if_required": "cancels the one timer of a connection",
        "app_state": "goes into the protocol that follows a stream under TLS",
        "config": "the same",
        "connection_lost": "ends the request under way; sets `disconnected` and wakes the application",
        "connection_made": "sets transport, flow, scheme and enters `connections`",
        "connections": "a connection that was handed off is no longer uvicorn's",
        "cycle": "the newest request and its answer; None before the first",
        "data_received": "is overridden: bytes are held or parsed by our rules",
        "eof_received": "is overridden: half-closed clients get their answers",
        "flow": "pauses reading while too much is held; its class is changed to ours",
        "headers": "the present request's, as (lower-case name, value): the length of its body is read there",
        "loop": "timers and turns of the loop",
        "on_body": "collects a body in `cycle.body`",
        "on_headers_complete": "makes `cycle` and starts the application",
        "on_message_begin": "makes `scope` and `headers`",
        "on_message_complete": "sets `cycle.more_body` to False",
        "on_response_complete": "is called when an answer is out: then what is held is served",
        "parser": "is fed; is let go after a hand-off",
        "scheme": "'https' where nothing can be half closed",
        "scope": "gets the extensions; tells HTTP/1.0",
        "server_state": "the Date header of our refusals",
        "shutdown": "closes an idle connection, or lets the present answer be the last",
        "timeout_keep_alive": "tells since when an answered connection is idle",
        "timeout_keep_alive_task": "the one timer of a connection, None when there is none",
        "transport": "writes, closes; is let go after a hand-off",
    },
    "cycle": {
        "chunked_encoding": "whether a stream's frames need chunks; False for HTTP/1.0",
        "disconnected": "True makes `send` silent and `receive` say http.disconnect",
        "expected_content_length": "what uvicorn compares a body with, set for HTTP/1.0",
        "keep_alive": "False makes this answer the last",
        "message_event": "wakes an application that waits in `receive`",
        "more_body": "whether the request is complete",
        "on_response": "is let go after a hand-off, with the cycle of references through it",
        "response_complete": "whether the connection is free for the next request",
        "response_started": "whether a refusal can still be written",
        "send": "is overridden for HTTP/1.0",
        "transport": "is let go after a hand-off",
    },
    "flow": {
        "pause_reading": "back-pressure by TCP",
        "read_paused": "whether it is the application that does not read",
        "resume_reading": "is overridden: not while too much is held",
    },
    "state": {
        "connections": "what is to be closed at the end",
        "default_headers": "the Date header of our refusals",
        "tasks": "what is still being answered",
    },
    "server": {
        "capture_signals": "is overridden: signals are not raised again after a clean stop",
        "config": "for new connections",
        "force_exit": "a second signal",
        "handle_exit": "is overridden: a signal starts the drain",
        "lifespan": "its `state` goes into new connections",
        "main_loop": "returns when `should_exit` is set; is followed by the notice to load balancers",
        "on_tick": "keeps `server_state.default_headers`, the Date header, right",
        "server_state": "connections and tasks",
        "servers": "the listening ones that uvicorn closes; empty where the front has the sockets",
        "should_exit": "ends `main_loop`",
        "shutdown": "ends the application's lifespan",
        "startup": "begins the application's lifespan, and must take no socket where none is given",
    },
    "config": {
        "encoded_headers": "go out with every answer, which `on_tick` sees to: a drain closes connections by them",
        "ssl": "the TLS context of the front",
    },
    "lifespan": {"state": "goes into new connections"},
}

OBJECTS = {
    "self.cycle": "cycle",
    "cycle": "cycle",
    "self.flow": "flow",
    "self.server_state": "state",
    "self.config": "config",
    "self.lifespan": "lifespan",
    "connection": "protocol",
}

SIGNATURES: list[tuple[Callable[..., Any], list[str], str]] = [
    (HttpToolsProtocol.__init__, ["self", "config", "server_state", "app_state", "_loop"], f"{CONNECTION}, {STREAMS}"),
    (HttpToolsProtocol.connection_made, ["self", "transport"], f"{PROTOCOL}, {CONNECTION}"),
    (HttpToolsProtocol.on_body, ["self", "body"], PROTOCOL),
    (HttpToolsProtocol.on_response_complete, ["self"], PROTOCOL),
    (HttpToolsProtocol._should_upgrade, ["self"], PROTOCOL),
    (RequestResponseCycle.send, ["self", "message"], PROTOCOL),
    (FlowControl.resume_reading, ["self"], PROTOCOL),
    (uvicorn.Server.startup, ["self", "sockets"], STREAMS),
    (uvicorn.Server.shutdown, ["self", "sockets"], STREAMS),
    (uvicorn.Server.on_tick, ["self", "counter"], STREAMS),
    (uvicorn.Server.main_loop, ["self"], PUBLISHER),
    (uvicorn.Server.capture_signals, ["self"], PUBLISHER),
]


def class_of(part: Part) -> ast.ClassDef:
    tree = ast.parse((ROOT / part.file).read_text())
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == part.name]
    assert found, f"{part.file} has no class {part.name} any more: put the new one into OURS"
    return found[0]


def names_of_its_own(body: ast.ClassDef) -> set[str]:
    """Return what a class defines itself: methods, slots, values, annotations, what its constructor sets."""
    own: set[str] = set()
    for node in body.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own.add(node.name)
            if node.name == "__init__":
                own |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and is_stored(each)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.add(node.target.id)
        elif isinstance(node, ast.Assign):
            own |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            own |= {str(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant)}
    return own


def is_stored(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.ctx, ast.Store) and ast.unparse(attribute.value) == "self"


def used() -> Iterator[tuple[str, str, str]]:
    """Give (kind of object, name, our file) for every name of uvicorn's that our classes use."""
    base = names_of_its_own(class_of(OURS[0]))
    for part in OURS:
        body = class_of(part)
        own = names_of_its_own(body) | (base if part.stands_for == "protocol" else set())
        kinds = {**OBJECTS, "self": part.stands_for, "super()": part.stands_for}
        for node in ast.walk(body):
            if isinstance(node, ast.Attribute) and (kind := kinds.get(ast.unparse(node.value))):
                of_uvicorn = ast.unparse(node.value) != "self" or node.attr not in own
                if (node.attr == "flow" or of_uvicorn) and not node.attr.startswith("__"):
                    yield kind, node.attr, part.file


def files(kind: str, name: str) -> str:
    """Return our files that use or override a name of uvicorn's."""
    using = {file for used_kind, used_name, file in used() if (used_kind, used_name) == (kind, name)}
    overriding = {part.file for part in OURS if part.stands_for == kind and name in names_of_its_own(class_of(part))}
    return ", ".join(sorted(using | overriding))


def test_everything_that_is_used_is_listed() -> None:
    ours = {"flow": {"full"}, "protocol": {"idle_since"}}  # of our own classes
    unlisted = sorted(
        f"{kind}.{name} in {file}"
        for kind, name, file in used()
        if name not in NEEDED[kind] and name not in ours.get(kind, ())
    )
    assert not unlisted, f"say in NEEDED what these names of uvicorn's are used for: {unlisted}"
    unused = sorted(f"{kind}.{name}" for kind, names in NEEDED.items() for name in names if not files(kind, name))
    assert not unused, f"take out of NEEDED what nobody uses any more: {unused}"


@asynccontextmanager
async def serving(
    app: ASGIApp, protocol: type[HttpToolsProtocol] = HttpToolsProtocol, **options: Any
) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """Run plain uvicorn with `protocol` until the block ends; gives the server and its URL."""
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.002)
        try:
            yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answered(client: Socket) -> bytes:
    client.send(GET)
    head = await client.head()
    assert await client.exactly(2) == b"ok"
    return head


@pytest.mark.asyncio
async def test_every_name_that_is_used_is_there() -> None:
    async with serving(hello) as (server, url), connected(url) as client:
        await answered(client)
        [protocol] = server.server_state.connections
        objects = {
            "protocol": protocol,
            "cycle": protocol.cycle,  # type: ignore[union-attr] # it is no WebSocket
            "flow": protocol.flow,  # type: ignore[union-attr] # the same
            "state": server.server_state,
            "server": server,
            "config": server.config,
            "lifespan": server.lifespan,
        }
    gone = [
        f"{type(objects[kind]).__qualname__}.{name}, used in {files(kind, name)}: {what_for}"
        for kind, names in NEEDED.items()
        for name, what_for in names.items()
        if not hasattr(objects[kind], name)
    ]
    assert not gone, f"uvicorn {uvicorn.__version__} does not have:\n" + "\n".join(gone)


def test_signatures_are_those_that_are_overridden_and_called() -> None:
    changed = []
    for function, expected, where in SIGNATURES:
        found = list(inspect.signature(function).parameters)
        if found != expected:
            changed.append(f"{function.__qualname__}({', '.join(found)}), not ({', '.join(expected)}); see {where}")
    assert not changed, f"uvicorn {uvicorn.__version__} has changed:\n" + "\n".join(changed)


@pytest.mark.parametrize("file", [STREAMS, PUBLISHER])
def test_every_option_that_is_given_exists(file: str) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "uvicorn.Config"
    ]
    assert calls
    given = {keyword.arg for call in calls for keyword in call.keywords}
    unknown = given - set(inspect.signature(uvicorn.Config).parameters)
    assert not unknown, f"uvicorn.Config of {uvicorn.__version__} has no {sorted(map(str, unknown))}; see {file}"


def test_it_is_a_version_that_these_tests_have_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert untested_uvicorn() is None, (
        f"uvicorn {uvicorn.__version__} is not {TESTED_UVICORN}: when all tests pass, set TESTED_UVICORN in {PROTOCOL}"
    )
    monkeypatch.setattr(uvicorn, "__version__", "99.1.2")
    assert untested_uvicorn() == "99.1.2"


def test_status_lines_are_ready_to_be_written() -> None:
    assert STATUS_LINE[431] == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


@pytest.mark.asyncio
async def test_a_connection_is_kept_alive_with_one_timer_between_two_requests() -> None:
    async with serving(hello, HttpProtocol) as (server, url), connected(url) as client:
        for _ in range(3):
            assert b"\r\nconnection: close\r\n" not in await answered(client)
            [protocol] = server.server_state.connections
            assert isinstance(protocol, HttpProtocol)
            assert protocol.timeout_keep_alive_task is not None
            assert protocol.cycle.response_complete
            assert not protocol.cycle.more_body
        assert server.server_state.total_requests == 3


class Noting(asyncio.Transport):
    """Notes what is written to a transport."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        super().__init__()
        self._transport = transport
        self._written = written

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written.append(bytes(data))
        self._transport.write(data)


@pytest.mark.asyncio
async def test_head_and_chunks_are_written_as_streams_expect_them() -> None:
    written: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        [protocol] = server.server_state.connections
        assert isinstance(protocol, HttpToolsProtocol)
        protocol.cycle.transport = Noting(protocol.transport, written)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        assert protocol.cycle.chunked_encoding is True
        await send({"type": "http.response.body", "body": b""})

    async with serving(app) as (server, url), connected(url) as client:
        client.send(GET)
        await client.until(b"\r\n0\r\n\r\n")
    head, *rest = written
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), "the head is one write"
    assert head.endswith(b"x-a: b\r\ntransfer-encoding: chunked\r\n\r\n")
    assert rest == [b"5\r\nfirst\r\n", b"0\r\n\r\n"], "one write a chunk, in stream_server/frames.py's own framing"


@pytest.mark.asyncio
async def test_a_response_that_is_marked_disconnected_stays_silent_and_its_connection_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        [protocol] = server.server_state.connections
        assert isinstance(protocol, HttpToolsProtocol)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"opening", "more_body": True})
        protocol.cycle.disconnected = True
        await send({"type": "http.response.body", "body": b"never sent", "more_body": False})
        assert await receive() == {"type": "http.disconnect"}
        del protocol.cycle.transport, protocol.cycle.on_response
        protocol.transport.write(b"by hand")
        done.set()

    async with serving(app) as (server, url), connected(url) as client:
        client.send(GET)
        await client.until(b"opening\r\n")
        assert await client.exactly(7) == b"by hand"
        await done.wait()
        async with asyncio.timeout(30):
            while server.server_state.tasks:
                await asyncio.sleep(0.002)
        assert len(server.server_state.connections) == 1
        [protocol] = server.server_state.connections
        assert not protocol.transport.is_closing()
        protocol.transport.abort()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], (
        "uvicorn takes such a response for ended, not for forgotten; see hand_off in connection.py"
    )


@pytest.mark.asyncio
async def test_reading_is_resumed_through_the_flow_when_an_application_receives() -> None:
    paused: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        [protocol] = server.server_state.connections
        assert isinstance(protocol, HttpToolsProtocol)
        protocol.flow.pause_reading()
        await receive()
        paused.append(protocol.flow.read_paused)
        protocol.flow.pause_reading()
        await hello(scope, receive, send)
        paused.append(protocol.flow.read_paused)

    async with serving(app) as (server, url), connected(url) as client:
        await answered(client)
    assert paused == [False, False], "uvicorn resumes otherwise: the bound on held requests, `_Flow`, depends on it"


@pytest.mark.asyncio
async def test_a_connection_that_is_to_shut_down_answers_first_and_says_that_it_closes() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await hello(scope, receive, send)

    async with serving(app) as (server, url), connected(url) as client, connected(url) as idle:
        client.send(GET)
        await asked.wait()
        for protocol in list(server.server_state.connections):
            protocol.shutdown()
        assert await idle.rest() == b""
        go_on.set()
        answer = await client.rest()
        assert answer.endswith(b"ok")
        assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.asyncio
async def test_a_server_without_sockets_runs_the_application_and_keeps_the_date() -> None:
    events: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        while not events or events[-1] != "lifespan.shutdown":
            events.append((await receive())["type"])
            await send({"type": f"{events[-1]}.complete"})

    config = uvicorn.Config(app, http=HttpProtocol, ws="none", lifespan="on", log_config=None, server_header=False)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[])
    assert server.started
    assert server.servers == []
    assert isinstance(server.lifespan.state, dict)
    assert await server.on_tick(0) is False
    [(name, _)] = server.server_state.default_headers
    assert name == b"date"
    config.encoded_headers.append((b"connection", b"close"))
    assert await server.on_tick(0) is False
    assert (b"connection", b"close") in server.server_state.default_headers
    server.should_exit = True
    assert await server.on_tick(1) is True
    await server.shutdown(sockets=[])
    assert events == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.asyncio
async def test_signals_go_to_the_overridden_handler_and_are_not_raised_again() -> None:
    taken: list[int] = []

    class Ours(uvicorn.Server):
        def handle_exit(self, sig: int, frame: object) -> None:
            del frame
            taken.append(sig)
            self.should_exit = True

    config = uvicorn.Config(hello, http=HttpProtocol, ws="none", lifespan="off", log_config=None)
    server = Ours(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.002)
            signal.raise_signal(signal.SIGTERM)
            await task
    assert taken == [signal.SIGTERM]
