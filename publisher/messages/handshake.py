"""What a NATS server may say between CONNECT and the PONG that ends the handshake, which nats-py 2.16 does not foresee.

A server sends a PING of its own two seconds after the CONNECT, which a process that was frozen in between finds before
the answer to its own; and it may leave. nats-py takes either for its PONG. Nothing fails: but the client believes for
ever that it is still connecting, so that requests are refused, and each later `flush` is ended by the PONG of the one
before; or it has connected to nobody, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from nats import errors
from nats.aio.transport import Transport

__all__ = ["answering"]

PING: Final = b"PING"
PONG: Final = b"PONG\r\n"
PASSED_OVER: Final = (b"+OK", b"INFO ")
"""What may come in between and changes nothing: nats-py reads the next INFO by itself once it is connected."""


def answering(transport: Transport) -> Callable[[], Coroutine[Any, Any, bytes]]:
    """Return what is to stand for the `readline` of a `transport` that has connected, and read nothing since.

    It returns the server's first line, then its verdict (a PONG or an error), and answers each PING before it. Raises
    `nats.errors.UnexpectedEOF` when the server leaves.
    """
    readline = type(transport).readline  # not what stood for it before: nats-py connects one transport many times
    begun = False

    async def answer() -> bytes:
        nonlocal begun
        while True:
            line: bytes = await readline(transport)
            if not line:
                raise errors.UnexpectedEOF
            if line.startswith(PING):
                transport.write(PONG)
            elif not begun or not line.startswith(PASSED_OVER):
                begun = True
                return line

    return answer
