"""One announcement, so that the broker never goes back: publish only over the message that was expected to be there.

JetStream keeps the last message to arrive. Two processes that announce one environment, or one that was held up,
would put an older version over a newer one; so each publish carries the sequence that its subject is believed to
have. When JetStream refuses, the subject is read, and the version published again only if it is still newer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
from nats import errors
from nats.aio.client import Client

from publisher import messages
from publisher.messages import STREAM, InvalidVersionError
from publisher.messages.broker import Newest
from publisher.messages.jetstream import (
    JetStreamError,
    NoMessageError,
    StreamMissingError,
    call,
    raise_refused,
    stream_info,
)
from publisher.provision import Difference, Provisioned, StreamUnfitError, provision

__all__ = ["AheadError", "Announcer", "NotAnnouncedError"]

logger = logging.getLogger(__name__)

WRONG_SEQUENCE: Final = 10071
ATTEMPTS: Final = 6
"""Times that one announcement is refused before it is left to the caller: others announce the same environment."""

REMEMBERED: Final = 100_000
"""Subjects whose sequence is remembered, about 20 MB; one that was forgotten costs a refusal and a reading."""


class NotAnnouncedError(Exception):
    """The broker did not acknowledge; it may hold the message all the same. `reason` says what went wrong."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class AheadError(NotAnnouncedError):
    """The broker holds a version so far ahead (`held`) that no one believes it, and it is never lowered by itself."""

    def __init__(self, held: int) -> None:
        self.held = held
        super().__init__("the broker holds a version that is more than 300 s ahead; an operator has to reset it")


class _Known(NamedTuple):
    """What is believed of a subject: the sequence of its message, and the version in it."""

    sequence: int
    version: int


class _Ack(msgspec.Struct):
    seq: int


class _Stored(msgspec.Struct):
    seq: int
    data: bytes = b""  # base64 in JSON, which is how msgspec reads bytes


class _Found(msgspec.Struct):
    message: _Stored


NOTHING: Final = _Known(0, 0)
FAILURES: Final = (errors.Error, JetStreamError, StreamUnfitError, msgspec.DecodeError, OSError, TimeoutError)

_acks = msgspec.json.Decoder(_Ack)
_found = msgspec.json.Decoder(_Found)


class Announcer:
    """Announces over one client.

    `refused` counts publishes that another process had overtaken. `provisioned` is what was found out about the
    stream on this connection, None before.
    """

    def __init__(
        self,
        client: Client,
        *,
        replicas: int = 1,
        timeout: float = 2.0,
        clock: Callable[[], int] = messages.now,
    ) -> None:
        self.refused = 0
        self._client = client
        self._replicas = replicas
        self._timeout = timeout
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._checking = asyncio.Lock()
        self.provisioned: Provisioned | None = None
        self._told: tuple[Difference, ...] = ()

    async def announce(self, key: str, version: int) -> int:
        """Bring the broker to `version` of environment `key` at least, and return what it holds by then.

        Raises `NotAnnouncedError` (also `AheadError`): the caller decides whether to try again.
        """
        if self.provisioned is None:
            await self.provision()
        try:
            return await self._announce(key, version)
        except FAILURES as error:
            raise NotAnnouncedError(str(error) or type(error).__name__) from error

    async def held(self, key: str) -> int:
        """Return the version that the broker holds, 0 for none; raises `NotAnnouncedError`."""
        try:
            return (await self._stored(key)).version
        except FAILURES as error:
            raise NotAnnouncedError(str(error) or type(error).__name__) from error

    async def provision(self) -> Provisioned:
        """Make the stream or check it, once a connection; later calls return what was found.

        Raises `NotAnnouncedError` when it cannot be had, or cannot be used as it is configured.
        """
        async with self._checking:
            if self.provisioned is None:
                try:
                    self.provisioned = await provision(self._client, replicas=self._replicas)
                except FAILURES as error:
                    raise NotAnnouncedError(str(error) or type(error).__name__) from error
                self._tell(self.provisioned)
            return self.provisioned

    async def recheck(self) -> Provisioned:
        """Make the stream or check it, whatever was found before; raises as `provision` does."""
        self.provisioned = None
        return await self.provision()

    def _tell(self, found: Provisioned) -> None:
        for difference in found.differences:
            if difference not in self._told:
                logger.warning("the JetStream stream %s differs: %s", STREAM, difference)
        self._told = found.differences

    def learn(self, newest: Newest) -> None:
        """Replace what is remembered of subjects by a reading of the broker."""
        keys = list(newest.versions)[-REMEMBERED:]
        self._known = {key: _Known(newest.sequences[key], newest.versions[key]) for key in keys}

    def forget(self) -> None:
        """Forget everything: the broker may have lost its disk, the stream may be another."""
        self._known.clear()
        self.provisioned = None

    async def _announce(self, key: str, version: int) -> int:
        known = self._known.get(key, NOTHING)
        for _ in range(ATTEMPTS):
            if known.version >= version:
                known = await self._stored(key)  # before that is taken for granted
                if self._is_settled(known, version):
                    return known.version
            try:
                sequence = await self._publish(key, version, known.sequence)
            except JetStreamError as error:
                if error.code != WRONG_SEQUENCE:
                    raise
                self.refused += 1
                known = await self._stored(key)
                if self._is_settled(known, version):
                    return known.version
            else:
                self._remember(key, _Known(sequence, version))
                return version
        raise NotAnnouncedError("others announce the same environment without pause")

    def _is_settled(self, known: _Known, version: int) -> bool:
        """Tell whether the broker holds `version` or newer; raise `AheadError` when that is not to be believed."""
        if known.version > version and messages.is_too_far_ahead(known.version, max(self._clock(), version)):
            raise AheadError(known.version)
        return known.version >= version

    async def _publish(self, key: str, version: int, expected: int) -> int:
        """Publish once over message `expected` and return the new sequence."""
        try:
            return await self._send(key, version, expected)
        except (errors.NoRespondersError, errors.TimeoutError):
            # Nobody stores the subject; with stream servers listening to it there is no sign but silence.
            if not await self._restore():
                raise
        return await self._send(key, version, 0)

    async def _send(self, key: str, version: int, expected: int) -> int:
        headers = dict(messages.expected_sequence(expected))
        answer = await self._client.request(
            messages.subject(key), messages.encode(version), timeout=self._timeout, headers=headers
        )
        raise_refused(answer.data)
        return _acks.decode(answer.data).seq

    async def _restore(self) -> bool:
        """Make the stream again if it is missing; tell whether it was."""
        try:
            await stream_info(self._client)
        except StreamMissingError:
            self.forget()
            await self.provision()
            return True
        return False

    async def _stored(self, key: str) -> _Known:
        """Return what the subject holds by the stream's leader; version 0 stands for none, and for a strange one."""
        request = {"last_by_subj": messages.subject(key)}
        try:
            answer = await call(self._client, f"STREAM.MSG.GET.{STREAM}", request, timeout=self._timeout)
        except NoMessageError:
            return NOTHING
        stored = _found.decode(answer).message
        try:
            known = _Known(stored.seq, messages.decode(stored.data))
        except InvalidVersionError:
            logger.warning("a message that is no announcement was found in the broker and is replaced")
            known = _Known(stored.seq, 0)
        self._remember(key, known)
        return known

    def _remember(self, key: str, known: _Known) -> None:
        self._known.pop(key, None)
        self._known[key] = known
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
