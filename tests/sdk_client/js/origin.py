"""One origin for browser tests: the page, the client, a stream and flags, with faults at the turn of a switch."""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.sdk_client.scripted import KEY, V1, document, event

MODULE = Path(__file__).parents[3] / "sdk_client" / "js" / "flagstream.js"
HEARTBEAT = 0.05

PAGE = """<!doctype html>
<title>Flags</title>
<link rel="icon" href="data:,">
<script type="module">
  import { Backoff, FlagClient, FlagStream } from "/flagstream.js";
  window.Backoff = Backoff;
  const quick = new Backoff({ base: 0.1, cap: 0.2, least: 0.1 });
  const shared = { environmentKey: "KEY", backoff: quick };
  const record = (source, ...names) => {
    window.seen = [];
    for (const name of names) source.on(name, (what) => window.seen.push([name, what]));
  };
  window.client = (options = {}) => {
    window.flags = new FlagClient({ apiUrl: location.origin, ...shared, ...options });
    record(window.flags, "change", "status", "stream", "fetch", "error", "update");
  };
  window.stream = (options = {}) => {
    window.versions = new FlagStream({ streamUrl: location.origin, ...shared, ...options });
    record(window.versions, "version", "state", "stream");
  };
  // Playwright keeps every page visible; what the browser would say is said by hand.
  window.show = (visible) => {
    Object.defineProperty(document, "visibilityState", { value: visible ? "visible" : "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  window.loaded = true;
</script>
""".replace("KEY", KEY)


@dataclass
class Stream:
    """One stream that was opened; times are of the monotonic clock, `ended` is infinite while it is open."""

    opened: float
    ended: float = float("inf")


@dataclass
class Origin:
    """`version` and `features` are the truth; where `streaming` or `fetching` is False the answer is `refusal`."""

    url: str = ""
    version: int = V1
    features: dict[str, tuple[bool, Any]] = field(default_factory=lambda: {"banner": (True, "a")})
    streaming: bool = True
    fetching: bool = True
    refusal: int = 503
    lifetime: float | None = None
    streams: list[Stream] = field(default_factory=list)
    documents: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refused: int = 0
    closing: bool = False
    lock: threading.Condition = field(default_factory=threading.Condition)

    @property
    def open(self) -> int:
        return sum(stream.ended == float("inf") for stream in self.streams)

    def change(self, value: Any, *, enabled: bool = True) -> None:
        """Change the flag and announce it."""
        with self.lock:
            self.features["banner"] = (enabled, value)
            self.version += 1_000_000
            self.lock.notify_all()

    def end(self) -> None:
        """End the streams there are."""
        with self.lock:
            self.closing = True
            self.lock.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: Origin

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/":
            self._answer(200, PAGE.encode(), "text/html")
        elif path == "/flagstream.js":
            self._answer(200, MODULE.read_bytes(), "text/javascript")
        elif path.startswith("/sse/"):
            self._stream()
        elif path == "/api/v1/flags/":
            self._document(query)
        elif path == "/api/v1/identities/":
            self._identity(parse_qs(query)["identifier"][0], {})
        else:
            self._answer(404, b"", "text/plain")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._identity(asked["identifier"], {each["trait_key"]: each["trait_value"] for each in asked["traits"]})

    def _identity(self, identifier: str, traits: dict[str, Any]) -> None:
        label = {"X_Flagstream_Version": str(self.origin.version)}
        flags = json.loads(document({"banner": (True, json.dumps([identifier, traits]))}))
        self._answer(200, json.dumps({"flags": flags}).encode(), "application/json", **label)

    def _answer(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _document(self, query: str) -> None:
        origin = self.origin
        origin.documents.append((query, {name.lower(): value for name, value in self.headers.items()}))
        if not origin.fetching:
            return self._answer(origin.refusal, b"", "text/plain")
        label = {"X_Flagstream_Version": str(origin.version), "ETag": f'"{origin.version}"'}
        if self.headers.get("If-None-Match") == label["ETag"]:
            self.send_response(304)
            for name, value in label.items():
                self.send_header(name.replace("_", "-"), value)
            return self.end_headers()
        return self._answer(200, document(origin.features), "application/json", **label)

    def _stream(self) -> None:
        origin = self.origin
        self.close_connection = True
        if not origin.streaming:
            origin.refused += 1
            return self._answer(origin.refusal, b"", "text/plain")
        stream = Stream(time.monotonic())
        origin.streams.append(stream)
        try:
            self._write_stream(origin, stream)
        except OSError:
            pass
        finally:
            stream.ended = time.monotonic()

    def _write_stream(self, origin: Origin, stream: Stream) -> None:
        self.send_response(200)
        # What the stream server sends: kept by an edge, and by no browser.
        for name, value in {
            "Content-Type": "text/event-stream",
            "Cache-Control": "public, max-age=0, s-maxage=1",
            "Transfer-Encoding": "chunked",
        }.items():
            self.send_header(name, value)
        if origin.lifetime is not None:
            self.send_header("X-Stream-Lifetime", str(origin.lifetime))
            self.send_header("X-Stream-Join-Window", "0")
        self.end_headers()
        sent = 0

        def is_due() -> bool:
            return origin.closing or origin.version > sent

        while not origin.closing and time.monotonic() - stream.opened < (origin.lifetime or 3600):
            version = origin.version
            self._chunk(event(version) if version > sent else b": ping\n\n")
            sent = version
            if select.select([self.connection], [], [], 0)[0]:
                return  # the client has left
            with origin.lock:
                origin.lock.wait_for(is_due, HEARTBEAT)
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, body: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the library gives it
        del format, args


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers leave in the middle of answers."""


@contextmanager
def serving() -> Iterator[Origin]:
    """Serve one origin on a free port of the loopback."""
    origin = Origin()
    handler = type("Handler", (_Handler,), {"origin": origin})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        origin.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield origin
        finally:
            origin.end()
            server.shutdown()
            thread.join()
