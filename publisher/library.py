"""`Publisher` and `SyncPublisher`: announce changes from a management API of one's own.

They need a NATS with JetStream and nothing else of this project; stream servers take it from there. Installed by
``pip install 'flagstream[publisher]'``.

What a call guarantees: when it returns, the broker has acknowledged this version or a newer one. When it raises
`PublishError`, it has not, and the caller decides: a management API that has an outbox of its own retries; one that
has none should at least log it, for apps learn of the change only with the next one. Calling again is always safe.

A publisher remembers what it announced and never goes below it. So after an operator has reset an environment whose
version a wrong clock put ahead (``flagstream reset``), programs that had announced that version are started again.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, TypeVar

from publisher import messages
from publisher.announcer import AheadError, Announcer, NotAnnouncedError
from publisher.messages.client import Client, connect

__all__ = ["PublishError", "PublishTimeoutError", "Publisher", "PublisherClosedError", "SyncPublisher"]

T = TypeVar("T")

DEFAULT_SERVER: Final = "nats://127.0.0.1:4222"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
CLOSE: Final = 2.0
"""Seconds that closing a `SyncPublisher` may take."""

REMEMBERED: Final = 100_000


class PublishError(Exception):
    """The broker did not acknowledge `version` of environment `key`; `reason` says why."""

    def __init__(self, key: str, version: int, reason: str) -> None:
        self.key = key
        self.version = version
        self.reason = reason
        super().__init__(f"not announced: {reason}")


class PublishTimeoutError(PublishError):
    """No acknowledgement came in time: NATS is away, or slow; it may have the message all the same."""


class PublisherClosedError(PublishError):
    """The publisher was closed, or never opened."""


def version_at(moment: datetime) -> int:
    """Return the version of a moment; a naive one is UTC, as it is for Flagsmith."""
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


class Publisher:
    """Announces changes from asyncio code.

        async with Publisher("nats://nats:4222") as publisher:
            await publisher.publish("client-side-environment-key")

    `servers` is one URL or several of one cluster, `credentials` a NATS credentials file, `timeout` the seconds that
    a call may take, `replicas` those of the stream if this process is the one to make it. Opening does not wait for
    NATS: it is connected to, for ever, in the background.
    """

    def __init__(
        self,
        servers: str | Sequence[str] = DEFAULT_SERVER,
        *,
        credentials: str = "",
        timeout: float = 2.0,
        replicas: int = 1,
        name: str = "flagstream publisher",
    ) -> None:
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        self._credentials = credentials
        self._timeout = timeout
        self._replicas = replicas
        self._name = name
        self._client: Client | None = None
        self._announcer: Announcer | None = None
        self._connected = asyncio.Event()
        self._newest: dict[str, int] = {}
        self._turns: dict[str, _Turn] = {}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Begin to connect; returns at once."""
        self._client = await connect(
            self._servers,
            name=self._name,
            credentials=self._credentials,
            on_connected=self._on_connected,
            on_disconnected=self._connected.clear,
            on_error=lambda _: None,  # what fails is raised where it was asked for
        )
        self._announcer = Announcer(self._client, replicas=self._replicas, timeout=self._timeout)

    async def close(self) -> None:
        """Close the connection; calls in progress raise `PublishError`."""
        client, self._client, self._announcer = self._client, None, None
        if client is not None:
            await client.close()

    async def publish(
        self,
        key: str,
        updated_at: datetime | None = None,
        *,
        version: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the default is the publisher's, and the error says what waited
    ) -> int:
        """Announce that environment `key` changed; return the version that the broker holds by then.

        When it changed is `updated_at`, or `version` in microseconds since the epoch, or now: a call without either
        is a new change and gets a version above every one before it. With either, the maximum is kept. Raises
        `PublishError` after `timeout` seconds at the latest, `InvalidKeyError` and `InvalidVersionError` at once.
        """
        if updated_at is not None and version is not None:
            raise TypeError("give updated_at or version, not both")
        given = version if updated_at is None else version_at(updated_at)
        messages.check_key(key)
        if given is not None and (given <= 0 or messages.is_too_far_ahead(given)):
            raise messages.InvalidVersionError("is not after 1970, or more than 300 s ahead")
        seconds = self._timeout if timeout is None else timeout
        state = _Call(messages.now() if given is None else given)
        try:
            async with asyncio.timeout(seconds), self._turn(key):
                if given is None:
                    state.version = self._next(key)
                return await self._publish(key, state, is_new=given is None)
        except TimeoutError:
            reason = state.reason or "NATS is not connected"
            raise PublishTimeoutError(key, state.version, f"{reason} (waited {seconds:g} s)") from None

    async def _publish(self, key: str, state: _Call, *, is_new: bool) -> int:
        """Try until it is acknowledged; `publish` bounds the time."""
        pause = PAUSE
        while True:
            if self._announcer is None:
                raise PublisherClosedError(key, state.version, "the publisher is closed")
            await self._connected.wait()
            try:
                held = await self._announcer.announce(key, state.version)
            except AheadError as error:
                raise PublishError(key, state.version, error.reason) from error
            except NotAnnouncedError as error:
                state.reason = error.reason
            else:
                if not is_new or held == state.version:
                    self._remember(key, held)
                    return held
                # Somebody with a clock ahead of ours was there: a new change has to be newer still.
                state.version = held + 1
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    @contextlib.asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        """Hold one environment's turn: calls at once would overtake each other, and be refused."""
        turn = self._turns.setdefault(key, _Turn())
        turn.callers += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.callers -= 1
            if not turn.callers:
                del self._turns[key]

    def _next(self, key: str) -> int:
        version = max(messages.now(), self._newest.get(key, 0) + 1)
        self._remember(key, version)
        return version

    def _remember(self, key: str, version: int) -> None:
        version = max(version, self._newest.pop(key, 0))
        self._newest[key] = version
        if len(self._newest) > REMEMBERED:
            del self._newest[next(iter(self._newest))]

    def _on_connected(self) -> None:
        if self._announcer is not None:
            self._announcer.forget()
        self._connected.set()


class _Turn:
    """A lock of one environment, and how many calls hold it or wait for it."""

    __slots__ = ("callers", "lock")

    def __init__(self) -> None:
        self.callers = 0
        self.lock = asyncio.Lock()


class _Call:
    """One call of `publish`: the version it is at by now, and why it has not succeeded yet."""

    __slots__ = ("reason", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.reason = ""


class SyncPublisher:
    """The same for code without asyncio; safe to share between threads and over `os.fork`.

    A thread with an event loop starts with the first call, in each process that makes one. In Django:

        # announcements.py
        from django.db import transaction
        from publisher import PublishError, SyncPublisher

        publisher = SyncPublisher("nats://nats:4222")

        def announce(environment):
            transaction.on_commit(lambda: publisher.publish(environment.api_key, environment.updated_at))

    A callback of ``on_commit(…, robust=True)`` that raises `PublishError` is logged by Django and harms nothing.
    """

    def __init__(
        self,
        servers: str | Sequence[str] = DEFAULT_SERVER,
        *,
        credentials: str = "",
        timeout: float = 2.0,
        replicas: int = 1,
        name: str = "flagstream publisher",
    ) -> None:
        self._timeout = timeout
        self._options: dict[str, Any] = {
            "servers": servers,
            "credentials": credentials,
            "timeout": timeout,
            "replicas": replicas,
            "name": name,
        }
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._closed = False
        _publishers.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(
        self, key: str, updated_at: datetime | None = None, *, version: int | None = None, timeout: float | None = None
    ) -> int:
        """Announce that environment `key` changed, as `Publisher.publish` does, and wait for it."""
        with self._lock:
            if self._closed:
                raise PublisherClosedError(key, version or 0, "the publisher is closed")
            if self._thread is None:
                self._thread = _LoopThread(self._options)
            thread = self._thread
        seconds = self._timeout if timeout is None else timeout
        call = thread.submit(thread.publisher.publish(key, updated_at, version=version, timeout=seconds))
        try:
            # The loop keeps the time; the second bound is for a loop that is gone.
            return call.result(seconds + CLOSE)
        except (TimeoutError, concurrent.futures.CancelledError):
            call.cancel()
            raise PublishTimeoutError(key, version or 0, "the publisher's thread does not answer") from None

    def close(self) -> None:
        """Close the connection and end the thread; later calls raise `PublisherClosedError`."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def _forget(self) -> None:
        """Drop what a fork has copied but not taken along: the thread, and locks that other threads held."""
        self._lock = threading.Lock()
        if self._thread is not None:
            # Never freed: freeing would close sockets whose registrations the parent process still uses.
            _of_parents.append(self._thread)
        self._thread = None


class _LoopThread:
    """A thread with an event loop and a `Publisher` in it."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.publisher = Publisher(**options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="flagstream publisher", daemon=True)
        self._thread.start()
        self.submit(self.publisher.open()).result(CLOSE)

    def submit(self, call: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        try:
            return asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:
            call.close()  # the loop was closed between look-up and call
            raise concurrent.futures.CancelledError from None

    def close(self) -> None:
        # What does not answer any more needs no closing.
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            self.submit(self.publisher.close()).result(CLOSE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            for task in (pending := asyncio.all_tasks(self._loop)):
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


_of_parents: list[_LoopThread] = []
_publishers: weakref.WeakSet[SyncPublisher] = weakref.WeakSet()


def _after_fork() -> None:
    for publisher in list(_publishers):
        publisher._forget()  # noqa: SLF001 - of this module


def _at_exit() -> None:
    for publisher in list(_publishers):
        publisher.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
