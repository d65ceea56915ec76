"""Clients as a server on the open internet meets them, each a few lines that say what it does to the connection.

They run on blocking sockets in threads of their own, so that one that waits holds up none but itself. Under TLS a
connection has no half-closed state in Python, and one that the server closes while the client goes on talking can lose
its last bytes: the two behaviours that need more are for plain TCP only (`PLAIN_ONLY`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from benchmarks.hostile.answers import Ask, Body
from benchmarks.hostile.client import Client

__all__ = ["BEHAVIOURS", "HASTY", "KEY", "LIFETIME", "PLAIN_ONLY", "Behaviour"]

KEY: Final = "hostile"
PATH: Final = f"/sse/environments/{KEY}/stream"

LIFETIME: Final = 2.0
"""Seconds that a stream lives."""

SLOWLY: Final = 3.0
"""Seconds that a slow reader is slow for: less than a lifetime and the time after it in which it would be cut."""

END: Final = b"\r\n0\r\n\r\n"


def _get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


STREAM: Final = Ask(_get(PATH), 200, Body.CHUNKS)
LAST_STREAM: Final = Ask(_get(PATH, "Connection: close"), 200, Body.CHUNKS)
OLD_STREAM: Final = Ask(_get(PATH, version="1.0"), 200, Body.UNTIL_CLOSE)
HEAD_OF_STREAM: Final = Ask(_get(PATH, method="HEAD"), 200, Body.NONE)
STREAM_WITH_BODY: Final = Ask(_get(PATH, "Content-Length: 5"), 200, Body.CHUNKS)
HEALTH: Final = Ask(_get("/health/liveness"), 200, Body.LENGTH)
UNKNOWN: Final = Ask(_get("/unknown"), 404, Body.LENGTH)


def reads(client: Client) -> None:
    """Read one stream to its end, as everyone should."""
    client.ask(LAST_STREAM)
    client.read_to_the_end()


def asks_again(client: Client) -> None:
    """Use the connection again after a stream, at once or after a pause."""
    client.ask(STREAM)
    client.read_until(END)
    if client.chance.random() < 0.3:
        client.pause(0.5)
    client.ask(HEALTH, LAST_STREAM)
    client.read_to_the_end()


def pipelines(client: Client) -> None:
    """Send four requests at once."""
    client.ask(STREAM, UNKNOWN, HEALTH, LAST_STREAM)
    client.read_to_the_end()


def drips(client: Client) -> None:
    """Send four requests in pieces that end anywhere."""
    client.drip(STREAM, UNKNOWN, HEALTH, LAST_STREAM)
    client.read_to_the_end()


def asks_across_the_end(client: Client) -> None:
    """Send the next requests in two parts, the first during the stream, the second about its end."""
    next_ones = (UNKNOWN, HEALTH, LAST_STREAM)
    client.asks += [STREAM, *next_ones]
    requests = b"".join(ask.request for ask in next_ones)
    cut = client.chance.randrange(1, len(requests))
    client.say(STREAM.request + requests[:cut])
    if client.chance.random() < 0.5:
        client.read_until(END)
    else:
        time.sleep(LIFETIME)
        client.pause(0.1)
    client.say(requests[cut:])
    client.read_to_the_end()


def reads_slowly(client: Client) -> None:
    """Take a few bytes at a time, then remember to read."""
    client.ask(STREAM, LAST_STREAM)
    fast = time.monotonic() + SLOWLY
    while time.monotonic() < fast and client.read(client.chance.randint(1, 1000)):
        client.pause(0.1)
    client.read_to_the_end()


def wakes_up(client: Client) -> None:
    """Read nothing for some seconds, then everything."""
    client.ask(STREAM, LAST_STREAM)
    client.pause(SLOWLY)
    client.read_to_the_end()


def never_reads(client: Client) -> None:
    """Read nothing and go, with or without a word."""
    client.ask(STREAM, LAST_STREAM)
    client.pause(SLOWLY)
    if client.chance.random() < 0.5:
        client.reset()


def half_closes(client: Client) -> None:
    """Say that nothing more comes, and listen to the end."""
    if client.chance.random() < 0.5:
        client.ask(STREAM, HEALTH)
    else:
        client.drip(STREAM, HEALTH)
    client.half_close()
    client.read_to_the_end()


def resets_early(client: Client) -> None:
    """Reset in the request, or while it is answered and the connection handed off."""
    client.asks.append(STREAM)
    moment = client.chance.choice(["in the request", "at once", "soon", "at the head"])
    cut = client.chance.randrange(len(STREAM.request)) if moment == "in the request" else None
    client.say(STREAM.request[:cut])
    if moment == "soon":
        client.pause(0.005)
    elif moment == "at the head":
        client.read(1)
    client.reset()


def resets(client: Client) -> None:
    """Reset in the stream or about its end."""
    client.ask(STREAM)
    moment = client.chance.choice(["in the stream", "about the end", "at the end"])
    if moment == "in the stream":
        client.pause(LIFETIME)
    elif moment == "about the end":
        time.sleep(LIFETIME)
        client.pause(0.1)
    else:
        client.read_until(END)
    client.reset()


def loses_interest(client: Client) -> None:
    """Send a part of a request and go."""
    request = client.chance.choice([STREAM, HEALTH, STREAM_WITH_BODY, UNKNOWN]).request
    client.say(request[: client.chance.randrange(1, 30)])
    client.pause(0.1)
    if client.chance.random() < 0.5:
        client.reset()


def speaks_http_1_0(client: Client) -> None:
    """Know no chunks."""
    client.ask(OLD_STREAM)
    client.read_to_the_end()


def asks_for_the_head(client: Client) -> None:
    """Ask for a head, then for a stream behind it."""
    client.ask(HEAD_OF_STREAM, LAST_STREAM)
    client.read_to_the_end()


def sends_a_body(client: Client) -> None:
    """Send a body where there is none, at once or late; the server may close behind the stream or read on."""
    client.asks += [STREAM_WITH_BODY, LAST_STREAM]
    body = b"GET /" + LAST_STREAM.request  # the first five bytes are the body
    if client.chance.random() < 0.5:
        client.say(STREAM_WITH_BODY.request + body)
    else:
        client.say(STREAM_WITH_BODY.request)
        client.pause(0.5)
        client.say(body)
    client.at_least = 1
    client.read_to_the_end()


def talks_garbage(client: Client) -> None:
    """Send what is no request, at once or behind a stream."""
    if client.chance.random() < 0.7:
        client.ask(STREAM)
    client.ask(Ask(b"\x16\x03\x01" + client.chance.randbytes(client.chance.randint(1, 2000)), 400, Body.LENGTH))
    client.read_to_the_end()


def talks_on(client: Client) -> None:
    """Go on talking behind the last request of the connection."""
    client.ask(LAST_STREAM)
    if client.chance.random() < 0.5:
        client.pause(0.1)
        client.say(b"x" * client.chance.randint(1, 2000))
        client.half_close()
    else:
        client.say(b"x" * client.chance.randint(1, 200_000))
    client.read_to_the_end()


Behaviour = Callable[[Client], None]

PLAIN_ONLY: Final[frozenset[Behaviour]] = frozenset({half_closes, talks_on})

HASTY: Final = (resets_early, loses_interest)
"""Those that are gone at once, so that many of them can come."""

SMALL_BUFFER: Final = 1024

BEHAVIOURS: Final[dict[Behaviour, int]] = {
    reads: 0,
    asks_again: 0,
    pipelines: 0,
    drips: 0,
    asks_across_the_end: 0,
    reads_slowly: SMALL_BUFFER,
    wakes_up: SMALL_BUFFER,
    never_reads: SMALL_BUFFER,
    half_closes: 0,
    resets_early: 0,
    resets: 0,
    loses_interest: 0,
    speaks_http_1_0: 0,
    asks_for_the_head: 0,
    sends_a_body: 0,
    talks_garbage: 0,
    talks_on: 0,
}
"""Every behaviour, and the bytes that its client's kernel buffers; 0 for as many as the kernel likes."""
