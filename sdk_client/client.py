"""`FlagClient`: an environment's flags in memory, held at the newest version by the stream."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from random import Random, SystemRandom
from types import MappingProxyType, TracebackType
from typing import Any, Self
from weakref import WeakSet

import httpx

from sdk_client.addresses import Addresses, check_client_key, check_key
from sdk_client.changes import Change, Changes, difference
from sdk_client.documents import Document, Flag
from sdk_client.errors import ClientStoppedError, ConfigurationError, NotReadyError
from sdk_client.loading import http_client
from sdk_client.reconnect import Backoff
from sdk_client.updater import Counts, Target, Updater
from sdk_client.versions import seconds_of

__all__ = ["Callback", "FlagClient"]

_log = logging.getLogger("sdk_client")

Callback = Callable[[Change], Awaitable[None] | None]


class FlagClient:
    """The flags of one environment, always at hand and followed live.

        async with FlagClient(environment_key="…", api_url="https://flags.example.com") as flags:
            if flags.is_enabled("banner"):
                print(flags.value("banner"))

    `environment_key` is a client key, or a server key (``ser.…``): then the stream's client key is read from the
    environment document unless `client_key` gives it. `stream_url` is only needed where streams are served elsewhere
    than `api_url`. `spread`, in seconds, is the longest random wait before a change is fetched: 0 is right for
    a few servers, many clients behind one CDN want some. `heartbeat` is the server's, in seconds. `http` is an httpx
    client to use (and not to close) instead of one of its own, for proxies or certificates.

    Entering waits up to `ready_timeout` seconds for the first flags and raises NotReadyError or KeyRefusedError
    without them; with ``require_ready=False`` it does not wait, and defaults are answered until the flags are there.
    Raises ConfigurationError for arguments that cannot work.
    """

    def __init__(
        self,
        *,
        environment_key: str,
        api_url: str,
        stream_url: str | None = None,
        client_key: str | None = None,
        require_ready: bool = True,
        ready_timeout: float = 10.0,
        request_timeout: float = 5.0,
        spread: float = 0.0,
        heartbeat: float = 15.0,
        backoff: Backoff | None = None,
        http: httpx.AsyncClient | None = None,
        random: Random | None = None,
    ) -> None:
        _check_seconds(ready_timeout=ready_timeout, request_timeout=request_timeout, heartbeat=heartbeat)
        if not spread >= 0:
            raise ConfigurationError("spread", "must be 0 seconds or more")
        self._require_ready = require_ready
        self._ready_timeout = ready_timeout
        self._http = http
        self._updater = Updater(
            Target(
                addresses=Addresses.of(api_url, stream_url),
                key=check_key(environment_key),
                client_key=None if client_key is None else check_client_key(client_key),
                request_timeout=request_timeout,
            ),
            random=random or SystemRandom(),  # not a seeded one: forked processes must not wait in step
            heartbeat=heartbeat,
            spread=spread,
            backoff=backoff,
            on_document=self._take,
        )
        self._flags: Mapping[str, Flag] | None = None
        self._subscriptions: WeakSet[Changes] = WeakSet()
        self._callbacks: dict[Changes, Callback] = {}
        self._task: asyncio.Task[None] | None = None
        self._workers: asyncio.TaskGroup | None = None
        self._fault: BaseException | None = None

    # Reading flags: from memory, never with I/O.

    def is_enabled(self, name: str, default: bool = False) -> bool:  # noqa: FBT001, FBT002 - reads as a sentence
        """Tell whether the feature is on; `default` where there is no such feature, or no flags yet."""
        flag = self.flags.get(name)
        return default if flag is None else flag.enabled

    def value(self, name: str, default: Any = None) -> Any:
        """Return the feature's value, on or off; `default` where there is no such feature, or no flags yet."""
        flag = self.flags.get(name)
        return default if flag is None else flag.value

    @property
    def flags(self) -> Mapping[str, Flag]:
        """All flags by name, as they are now; a later change makes another mapping."""
        return _NONE if self._flags is None else self._flags

    @property
    def version(self) -> int:
        """Version of the flags in microseconds since the epoch; 0 while unknown."""
        return self._updater.refetch.held

    @property
    def updated_at(self) -> float | None:
        """The version in Unix seconds, as events write it; None while unknown."""
        return seconds_of(self.version) if self.version else None

    @property
    def connected(self) -> bool:
        """Tell whether a stream is open now."""
        return self._updater.connected

    @property
    def is_current(self) -> bool:
        """Tell whether a stream is open and the flags are as new as it has told of."""
        return self.connected and self._updater.refetch.is_met

    @property
    def counts(self) -> Counts:
        """What this client has done so far: streams, fetches, failures."""
        return self._updater.counts

    # Hearing of changes.

    def changes(self) -> Changes:
        """Return an async iterator of every change from now on; the first load is none.

        A reader that falls behind by more than 1,000 changes gets them merged, one for each feature.
        """
        subscription = Changes()
        if self._task is not None and self._task.done():
            subscription.close(self._fault)
        self._subscriptions.add(subscription)
        return subscription

    def on_change(self, callback: Callback) -> Callable[[], None]:
        """Call `callback`, plain or async, with every change from now on; the function returned ends that.

        One change at a time, in order. A callback that raises is logged and counted, and called again for the next.
        """
        subscription = self.changes()
        self._callbacks[subscription] = callback
        if self._workers is not None:
            self._workers.create_task(self._call_back(subscription, callback))

        def stop() -> None:
            self._callbacks.pop(subscription, None)
            subscription.cancel()

        return stop

    # Life.

    async def __aenter__(self) -> Self:
        self.start()
        if self._require_ready:
            try:
                await self.wait_until_ready(self._ready_timeout)
            except BaseException:  # cancellation too: nothing may be left running
                await self.aclose()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin in the background, for programs that cannot use ``async with``; close with `aclose`."""
        if self._task is not None:
            raise ClientStoppedError("a FlagClient is started once; make another one")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="flag client")
        self._task.add_done_callback(self._on_done)

    async def aclose(self) -> None:
        """Stop: the stream is closed, iterators end after what is unread. Raises the client's own fault, if any."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._fault is not None:
            raise ClientStoppedError("the flag client failed") from self._fault

    async def wait_until_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - part of the interface
        """Return once flags are loaded.

        Raises NotReadyError after `timeout` seconds (None: never), KeyRefusedError as soon as the server refuses the
        key, and ClientStoppedError when the client ends meanwhile. The client goes on trying all the same.
        """
        if self._task is None:
            raise ClientStoppedError("the flag client was not started")
        try:
            async with asyncio.timeout(timeout):
                await self._updater.answered.wait()
        except TimeoutError:
            raise NotReadyError(timeout or 0.0, self._updater.last_error) from None
        if self._flags is not None:
            return
        if self._task.done():
            raise ClientStoppedError("the flag client is closed") from self._fault
        if self._updater.last_error is not None:
            raise self._updater.last_error

    # What runs in the background.

    async def _run(self) -> None:
        http = self._http or await http_client()
        try:
            async with asyncio.TaskGroup() as workers:
                self._workers = workers
                workers.create_task(self._updater.run(http))
                for subscription, callback in self._callbacks.items():
                    workers.create_task(self._call_back(subscription, callback))
        finally:
            self._workers = None
            if http is not self._http:
                await http.aclose()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
            _log.critical("the flag client failed; flags stay as they are", exc_info=fault)
        for subscription in [*self._subscriptions]:
            subscription.close(self._fault)
        self._updater.answered.set()

    def _take(self, document: Document) -> None:
        before, self._flags = self._flags, document.flags
        if before is None:
            return
        changes = difference(before, document.flags, self.version)
        if changes:
            for subscription in [*self._subscriptions]:
                subscription.put(changes)

    async def _call_back(self, subscription: Changes, callback: Callback) -> None:
        async for change in subscription:
            try:
                result = callback(change)
                if inspect.isawaitable(result):
                    await result
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._report_callback(change)  # something it awaited was cancelled, not we: it must not go deaf
            except Exception:  # noqa: BLE001 - the user's code: whatever it raises must not stop the flags
                self._report_callback(change)

    def _report_callback(self, change: Change) -> None:
        self.counts.callback_errors += 1
        _log.exception("a callback failed on a change of %r", change.feature)


_NONE: Mapping[str, Flag] = MappingProxyType({})


def _check_seconds(**settings: float) -> None:
    for name, seconds in settings.items():
        if not seconds > 0:
            raise ConfigurationError(name, "must be above 0 seconds")
