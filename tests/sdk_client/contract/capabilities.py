"""What the test service claims of the contract tests' optional features, and what it does not, with the reason."""

from __future__ import annotations

from typing import Final

CLAIMED: Final = {
    "bom": "The decoder drops one byte order mark at the start, however it is cut.",
    "comments": "Comments are items of the connection: heartbeats are comments.",
    "empty-or-missing-location": "Redirects are followed 5 times; a broken one is an error like any refusal.",
    "headers": "The shell takes headers.",
    "last-event-id": "The connection can begin with an id.",
    "payload-size-stress-testable": "The service raises the decoder's limits, which are 64 KiB and 256 KiB by default.",
    "post": "The service's own transport adds method and body: a stream of flags is always a GET.",
    "read-timeout": "A third of it is the connection's heartbeat; silence for three is its end.",
    "report": "As post.",
    "restart": "The service tells the connection that its stream was cut.",
}

NOT_CLAIMED: Final = {
    "204": "A 204 would end an EventSource for good. To a flag client it is a refusal like any other: it goes on "
    "asking, ever more slowly, and is back by itself when the server does well again (docs/client-rules.md, 2 and 9).",
    "server-directed-shutdown-request": "The newer name of 204.",
    "event-type-listeners": "Nobody has to name the types beforehand: events of all types are reported.",
}
