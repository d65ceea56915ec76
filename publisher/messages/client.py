"""A NATS client that never gives up: nats-py's own, with the defaults and the faults changed that would end it.

What nats-py 2.16 does by itself, and what is done here instead:

- it stops after 60 failed attempts, and every client of a fleet tries in step: attempts never end and are jittered;
- it logs a traceback per failed attempt: one line when the connection goes, one when it is back;
- ``connect`` waits for the first success: here it returns at once and the client connects in the background;
- it closes for good on most ``-ERR`` lines (an expired credential, a full server): treated as a lost connection;
- a request or `flush` whose connection is gone waits for its whole timeout, and a `flush` while NATS is away says that
  all is well: both fail at once;
- messages published while away are kept and sent later: refused at once, who publishes decides what is still true;
- a socket of an attempt that came to nothing is dropped open: closed;
- the subject of a permissions violation is handed on with its environment key: the key is left out;
- a PONG that comes after its `flush` timed out ends the reading task, and the client is deaf: ignored;
- a PING of the server during the handshake is taken for its PONG: answered (`publisher.messages.handshake`);
- the PING of a `flush` overtakes what waits to be written, so that it says nothing about that: sent in its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from nats import errors
from nats.aio.client import PING_PROTO, Srv
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from publisher.messages.handshake import answering

__all__ = ["Client", "connect"]

logger = logging.getLogger(__name__)

LONGEST_WAIT = 1.0
"""Seconds between two attempts at the most; what was announced meanwhile must arrive within 2 s of NATS coming back."""

SHORTEST_WAIT = 0.05
FIRST_SPREAD = 0.1
KEY = re.compile(r"(flags\.environment\.)[^.\s*]+(\.(?:updated|foretold))")
"""A subject in a server's complaint, which gets logged; lower-case as nats-py hands it over, its key has no digest."""

PING_INTERVAL = 5
"""Seconds; a connection that answers neither of two pings is dead, which finds a half-open one in 15 s."""


async def connect(
    servers: Sequence[str],
    *,
    name: str,
    credentials: str = "",
    on_connected: Callable[[], None],
    on_disconnected: Callable[[], None],
    on_error: Callable[[Exception], None],
) -> Client:
    """Return a client that connects to one of `servers` in the background and keeps doing so until it is closed.

    `on_connected` is called on the first connection and on every later one, `on_disconnected` whenever one is lost or
    closed, `on_error` for what goes wrong on a living connection (a slow consumer, a missing permission). All three
    are called on the loop and must not block. Subscriptions are made after the first `on_connected`; later
    connections keep them. Raises `ModuleNotFoundError` when `credentials` (a file) needs a package that is missing.
    """
    if credentials and find_spec("nkeys") is None:
        raise ModuleNotFoundError("NATS credentials need the package nkeys: pip install 'nats-py[nkeys]'")
    client = Client(on_connected=on_connected, on_disconnected=on_disconnected, on_error=on_error)
    client.start(
        servers=list(servers),
        name=name,
        user_credentials=credentials or None,
        max_reconnect_attempts=-1,
        reconnect_time_wait=SHORTEST_WAIT,
        ping_interval=PING_INTERVAL,
        pending_size=0,  # a message that could not be sent is refused, not sent when it is no longer true
    )
    return client


class Client(NatsClient):
    """See the module's docstring; made by `connect`."""

    def __init__(
        self,
        *,
        on_connected: Callable[[], None],
        on_disconnected: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._on_error = on_error
        self._first: asyncio.Task[None] | None = None
        self._wait = SHORTEST_WAIT
        self._away_logged = False
        self._stopping = False

    def start(self, **options: Any) -> None:
        """Begin to connect in the background."""
        for server in options["servers"]:
            self._parse_server_uri(server)  # a URL that can never work is told here, not in the background
        self._first = asyncio.get_running_loop().create_task(self._connect_first(options), name="nats connect")

    async def close(self) -> None:
        """Close the connection, or give up connecting."""
        self._stopping = True
        while self._first is not None and not self._first.done():
            # More than once: `wait_for` loses a cancellation that comes together with its result (Python 3.11).
            self._first.cancel()
            await asyncio.wait([self._first], timeout=0.1)
            self._leave_transport()
        if not self.is_connected:
            self._drop_pending()  # else it is written to a transport that is gone, which raises half-way
        if self._flush_queue is not None:
            await self._close_connection()
        # A reconnection whose cancellation was lost in the same way would connect after all, for nobody to close.
        while self._reconnection_task is not None and not self._reconnection_task.done():
            self._reconnection_task.cancel()
            await asyncio.wait([self._reconnection_task], timeout=0.1)
        self._leave_transport()
        self._fail_waiting()
        await asyncio.sleep(0)  # the turn in which the loop lets go of a closed socket

    async def _close_connection(self) -> None:
        try:
            with contextlib.suppress(OSError):
                await super().close()
        except asyncio.CancelledError:
            # A reconnection that is cancelled while it waits for the socket's end takes this one's wait along.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            await self._disconnected()

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,  # noqa: ASYNC109 - nats-py's signature
        old_style: bool = False,  # noqa: FBT001, FBT002 - the same
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """Send a request and return its answer, as nats-py does; raises at once while NATS is away."""
        if not self.is_connected:  # nats-py would refuse the message, and keep the place for its answer for ever
            raise errors.ConnectionReconnectingError
        return await super().request(subject, payload, timeout, old_style, headers)

    async def flush(self, timeout: float = 10) -> None:  # noqa: ASYNC109 - nats-py's signature
        """Return when the server has read all that was sent before; raises at once while NATS is away."""
        if not self.is_connected:
            raise errors.ConnectionReconnectingError
        await super().flush(timeout)  # type: ignore[arg-type]  # annotated int, used as seconds

    async def _connect_to_server(self, s: Srv) -> None:
        self._leave_transport()
        for task in (self._reading_task, self._flusher_task, self._ping_interval_task):
            if task is not None:
                task.cancel()  # nats-py leaves them running when a new connection does not answer its first flush
        await super()._connect_to_server(s)
        if self._transport is not None:
            self._transport.readline = answering(self._transport)  # type: ignore[method-assign]

    async def _process_connect_init(self) -> None:
        await super()._process_connect_init()
        self._drop_pending()  # the answer to a PING of the connection before would end a `flush` of this one

    def _leave_transport(self) -> None:
        """Close the socket of an attempt that came to nothing; nats-py would drop it open."""
        if isinstance(self._transport, TcpTransport):
            self._transport.close()  # type: ignore[no-untyped-call]  # as nats-py has it

    async def _connect_first(self, options: dict[str, Any]) -> None:
        while True:
            self._server_pool.clear()
            try:
                await self.connect(
                    error_cb=self._error,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._connected,
                    **options,
                )
            except (OSError, errors.Error, ValueError, EOFError) as error:
                # nats-py retries most by itself; what a peer that speaks no NATS provokes gets here.
                await self._error(error)
                await asyncio.sleep(self._wait)
            else:
                await self._connected()
                return

    async def _connected(self) -> None:
        self._wait = SHORTEST_WAIT
        self._away_logged = False
        logger.info("connected to NATS")
        # By way of the loop: a fault in a callback must not end the task that reconnects.
        asyncio.get_running_loop().call_soon(self._on_connected)

    async def _disconnected(self) -> None:
        self._fail_waiting()
        self._drop_pending()
        asyncio.get_running_loop().call_soon(self._on_disconnected)
        if self._stopping:
            return
        if not self._away_logged:
            self._away_logged = True
            logger.warning("NATS connection lost, reconnecting")
        await asyncio.sleep(random.uniform(0, FIRST_SPREAD))  # noqa: S311 - spreads a fleet's attempts, no secret

    async def _error(self, error: Exception) -> None:
        if self._stopping:
            return
        if self.is_connected:
            if not isinstance(error, OSError | errors.UnexpectedEOF):  # those end in `_disconnected` at once
                self._on_error(error)
            return
        self._wait = min(self._wait * 2, LONGEST_WAIT)
        self.options["reconnect_time_wait"] = random.uniform(SHORTEST_WAIT, self._wait)  # noqa: S311 - the same
        if not self._away_logged:
            self._away_logged = True
            logger.warning("NATS cannot be reached, trying on: %s", str(error) or type(error).__name__)

    def _fail_waiting(self) -> None:
        for reply in (*self._resp_map.values(), *self._pongs):
            if not reply.done():
                reply.set_exception(errors.ConnectionReconnectingError())
                reply.exception()  # whoever waited may be gone; that is nothing to log

    def _drop_pending(self) -> None:
        """Forget what was not sent: subscriptions are made again from the client's own table."""
        self._pending.clear()
        self._pending_data_size = 0

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg.lower():
            await super()._process_err(KEY.sub(r"\1*\2", err_msg))
            return
        error = errors.Error(f"nats: {err_msg.strip(chr(39))}")
        self._on_error(error)
        await self._process_op_err(error)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pings_outstanding = 0
            return
        await super()._process_pong()
