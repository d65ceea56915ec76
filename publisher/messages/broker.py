"""Reading the broker: connect, the newest version of every environment, and whether anything moved since.

To follow the stream: subscribe to `SUBJECTS` in plain NATS, flush, then `read_newest`, and keep the maximum; again on
every start, reconnection and slow-consumer error. A partition between nodes of a cluster drops plain messages without
any sign at the client, so compare `read_mark` with what was seen every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field
from typing import Final

import msgspec
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from publisher.messages import STREAM, SUBJECTS, InvalidVersionError, decode, key_of
from publisher.messages.client import connect
from publisher.messages.jetstream import (
    JetStreamError,
    NoMessageError,
    StreamInfo,
    StreamMissingError,
    call,
    stream_info,
)

__all__ = [
    "JetStreamError",
    "Newest",
    "NoMessageError",
    "StreamMark",
    "StreamMissingError",
    "connect",
    "read_mark",
    "read_newest",
]

BATCH: Final = 4096
"""Messages asked for at once: few round trips, and never more on the way than the client takes in a moment."""

STALL: Final = 5.0
"""Seconds without a message after which a reading fails."""

READINGS: Final = 5
"""Times that a copy of the stream which lags behind its leader is read again."""

NO_RESPONDERS: Final = "503"
RETRIES: Final = 40
RETRY: Final = 0.025
"""Seconds between two tries to reach a consumer that was just made."""

NANOSECONDS: Final = 1_000_000_000
ABANDONED: Final = 30 * NANOSECONDS
ACK_PREFIX: Final = "$JS.ACK."


@dataclass(frozen=True, slots=True)
class Newest:
    """One reading of the newest message of every subject.

    `versions` and `sequences` are by environment key. `last_sequence` and `created` are the stream's at that moment.
    `invalid` counts messages that are no announcement; they are in neither table.
    """

    versions: dict[str, int]
    sequences: dict[str, int]
    last_sequence: int
    created: str
    invalid: int


@dataclass(frozen=True, slots=True)
class StreamMark:
    """Moves whenever the stream does: another `created` is another stream, even with the same sequence."""

    last_sequence: int
    created: str
    messages: int


async def read_mark(client: Client) -> StreamMark:
    """Return where the stream stands, by its leader; raises as `read_newest` does."""
    return _mark(await stream_info(client))


def _mark(info: StreamInfo) -> StreamMark:
    return StreamMark(info.state.last_seq, info.created, info.state.messages)


async def read_newest(client: Client) -> Newest:
    """Return the newest version of every environment that the broker holds.

    Everything acknowledged before the call is in it, also while messages arrive. Raises `StreamMissingError`,
    `JetStreamError`, `TimeoutError`, and nats-py's errors when NATS is away.
    """
    for _ in range(READINGS):
        mark = await read_mark(client)
        if mark.messages == 0:
            return Newest({}, {}, mark.last_sequence, mark.created, 0)
        reading = await _read_subjects(client)
        if reading.last_sequence >= mark.last_sequence or await _is_deleted(client, mark.last_sequence):
            return Newest(
                reading.versions,
                reading.sequences,
                max(reading.last_sequence, mark.last_sequence),
                mark.created,
                reading.invalid,
            )
        # The consumer was placed on a node whose copy lags: what the leader has acknowledged was not in it.
        await asyncio.sleep(0.05)
    raise TimeoutError(f"the copy of the stream {STREAM} that NATS reads from lags behind its leader")


async def _is_deleted(client: Client, sequence: int) -> bool:
    try:
        await call(client, f"STREAM.MSG.GET.{STREAM}", {"seq": sequence})
    except NoMessageError:
        return True
    return False


@dataclass(slots=True)
class _Reading:
    """Takes a consumer's messages until nothing is pending; `turn` is done at the end of a batch or of all."""

    versions: dict[str, int] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    last_sequence: int = 0
    invalid: int = 0
    received: int = 0
    retries: int = 0
    pending: int = 0
    turn: asyncio.Future[None] = field(default_factory=asyncio.Future)

    async def take(self, message: Msg) -> None:
        self.received += 1
        if not message.reply.startswith(ACK_PREFIX):
            self._end(message)
            return
        sequence, self.pending = _positions(message.reply)
        self.last_sequence = max(self.last_sequence, sequence)
        self._keep(message, sequence)
        if (self.pending == 0 or self.received == BATCH) and not self.turn.done():
            self.turn.set_result(None)

    def _keep(self, message: Msg, sequence: int) -> None:
        key = key_of(message.subject)
        try:
            version = decode(message.data)
        except InvalidVersionError:
            version = 0
        if key is None or version == 0:
            self.invalid += 1
        else:
            # Later in the stream is what the subject holds, older or not.
            self.versions[key] = version
            self.sequences[key] = sequence

    def _end(self, message: Msg) -> None:
        """Take a status in place of a message: nothing left (404, 408), nobody there (503), or cut short (409)."""
        if self.turn.done():
            return
        status = (message.headers or {}).get("Status", "")
        if status in {"404", "408"}:
            self.pending = 0
            self.turn.set_result(None)
        elif status == NO_RESPONDERS and self.retries < RETRIES:
            self.retries += 1
            self.turn.set_result(None)
        else:
            self.turn.set_exception(JetStreamError(int(status or 0), "the reading was cut short"))


def _positions(reply: str) -> tuple[int, int]:
    """Return stream sequence and messages pending, from an ack subject of 9 tokens or of 11 and more.

    Source: NATS ADR-15, "JetStream Subscribe Workflow", metadata of delivered messages.
    """
    tokens = reply.split(".")
    first = 5 if len(tokens) == 9 else 7  # noqa: PLR2004 - see the docstring; the long form begins with a domain
    return int(tokens[first]), int(tokens[first + 3])


async def _read_subjects(client: Client) -> _Reading:
    """Read by a consumer of our own that delivers the last message of each subject and wants no acks."""
    name = f"newest-{secrets.token_hex(8)}"
    config = {
        "name": name,
        "deliver_policy": "last_per_subject",
        "ack_policy": "none",
        "filter_subject": SUBJECTS,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": ABANDONED,  # goes by itself if it cannot be deleted below
    }
    reading = _Reading()
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=reading.take)
    try:
        created = msgspec.json.decode(
            await call(
                client,
                f"CONSUMER.CREATE.{STREAM}.{name}",
                {"stream_name": STREAM, "action": "create", "config": config},
                timeout=STALL,
            )
        )
        reading.pending = int(created["num_pending"])
        while reading.pending:
            reading.turn = asyncio.Future()
            reading.received = 0
            request = msgspec.json.encode({"batch": BATCH, "no_wait": True})
            await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{name}", request, reply=inbox)
            retries = reading.retries
            await _turn(reading)
            if reading.retries > retries:
                await asyncio.sleep(RETRY)  # a cluster answers before all its nodes know of the new consumer
        return reading
    finally:
        # A connection that is gone leaves nothing to take back; the consumer goes by itself.
        with contextlib.suppress(errors.Error, JetStreamError, TimeoutError):
            await subscription.unsubscribe()
            await call(client, f"CONSUMER.DELETE.{STREAM}.{name}", timeout=1.0)


async def _turn(reading: _Reading) -> None:
    """Wait for the end of a batch; raise `TimeoutError` when no message came for `STALL` seconds."""
    while not reading.turn.done():
        before = reading.received
        await asyncio.wait([reading.turn], timeout=STALL)
        if not reading.turn.done() and reading.received == before:
            raise TimeoutError("NATS stopped delivering the newest messages")
    reading.turn.result()
