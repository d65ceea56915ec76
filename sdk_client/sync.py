"""`SyncFlagClient`: the same flags for code without asyncio, from any number of threads, and over forks."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from os import PathLike, getpid
from random import Random
from types import TracebackType
from typing import Any, Final, NoReturn, Self, SupportsIndex, TypeVar

import httpx

from sdk_client.arguments import hooks_of
from sdk_client.audience import Audience, PlainCallback
from sdk_client.background import BackgroundLoop
from sdk_client.blocking import BlockingChanges
from sdk_client.bootstrap import Bootstrap
from sdk_client.changes import difference
from sdk_client.client import FlagClient
from sdk_client.errors import ClientStoppedError, ConfigurationError, DocumentError, NotReadyError
from sdk_client.flags import Flag, Flags, Getters, Source
from sdk_client.forking import look_after
from sdk_client.hooks import Hooks
from sdk_client.reconnect import Backoff
from sdk_client.status import Status
from sdk_client.updater import Counts

__all__ = ["SyncFlagClient"]

_log = logging.getLogger("sdk_client")

T = TypeVar("T")

_FOR_EVER: Final = 1e9  # far beyond, a lock raises OverflowError

CLOSE: Final = 5.0
"""Seconds that `close` waits for connections to close, and again for the thread and callbacks to end."""

EXIT: Final = 1.0
"""The same when the interpreter exits; what a busy machine has not ended by then warns on stderr of its end."""

MARGIN: Final = 1.0
"""Seconds beyond the client's own limit after which its loop is taken for dead."""


class SyncFlagClient(Getters):
    """The flags of one environment for code without asyncio: the same as `FlagClient`, without ``await``.

        with SyncFlagClient(environment_key="…", api_url="https://flags.example.com") as flags:
            if flags.is_enabled("banner"):
                print(flags.string("banner", "Welcome"))

    In a web application, make one for the process, call `start`, and keep it; nothing need be closed at exit. Any
    thread may use it. Reading takes neither locks nor I/O. A `FlagClient` does the work on an event loop in a daemon
    thread; hooks are called there and must not block, callbacks each have a thread of their own.

    After `os.fork` the child has the flags that there were, and follows on its own from its first use on, or at once if
    there are callbacks, which are called in both processes from then on. The parent does not notice.

    Arguments are those of `FlagClient`, but `http` is a function that makes the httpx client, and in each process
    another; it is closed with the flag client.
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
        poll_interval: float = 60.0,
        streaming: bool = True,
        local_evaluation: bool = False,
        bootstrap: Bootstrap | None = None,
        cache: str | PathLike[str] | None = None,
        offline: bool = False,
        hooks: Hooks | Iterable[Hooks] = (),
        backoff: Backoff | None = None,
        http: Callable[[], httpx.AsyncClient] | None = None,
        random: Random | None = None,
    ) -> None:
        if http is not None and not callable(http):
            raise ConfigurationError("http", "must be a function that makes an httpx.AsyncClient")

        def make(bootstrap: Bootstrap | None, http: httpx.AsyncClient | None) -> FlagClient:
            return FlagClient(
                require_ready=require_ready,
                environment_key=environment_key,
                api_url=api_url,
                stream_url=stream_url,
                client_key=client_key,
                ready_timeout=ready_timeout,
                request_timeout=request_timeout,
                spread=spread,
                heartbeat=heartbeat,
                poll_interval=poll_interval,
                streaming=streaming,
                local_evaluation=local_evaluation,
                bootstrap=bootstrap,
                cache=cache,
                offline=offline,
                backoff=backoff,
                http=http,
                random=random,
            )

        self._require_ready = require_ready
        self._ready_timeout = ready_timeout
        self._request_timeout = request_timeout
        self._offline = offline
        self._local = local_evaluation
        self._make = make
        self._make_http = http
        self._hooks = [_Attached(each) for each in hooks_of(hooks)]
        self._audience = Audience(self._before_wait, inline=offline)
        self._background: BackgroundLoop | None = None
        self._started = False
        self._closed = False
        self._locks: dict[int, threading.RLock] = {}
        self._process = self._left = getpid()
        self._renew(bootstrap)
        look_after(self)

    @classmethod
    def from_dict(cls, flags: Mapping[str, Any]) -> Self:
        """Return a client that is offline and has these flags, for the tests of whoever uses one; `set` changes them.

        Values are as in a bootstrap: true and false switch a feature, anything else is its value, and
        ``{"enabled": …, "value": …}`` says both. It needs neither `start` nor `close`. Raises ConfigurationError.
        """
        if not isinstance(flags, Mapping):
            raise ConfigurationError("flags", 'must be a dict, as in {"banner": True, "limit": 10}')
        return cls(environment_key="offline", api_url="http://offline", offline=True, bootstrap=flags)

    # Reading flags: from memory, never with I/O. The typed getters are those of `Getters`.

    @property
    def flags(self) -> Flags:
        """All flags by name, as they are now; a later change makes another mapping."""
        return self._here().flags

    @property
    def version(self) -> int:
        """Version of the flags in microseconds since the epoch; 0 while unknown."""
        return self._here().version

    @property
    def updated_at(self) -> float | None:
        """The version in Unix seconds, as events write it; None while unknown."""
        return self._here().updated_at

    @property
    def status(self) -> Status:
        """How fresh the flags are."""
        client = self._here()
        return client.status if self._is_alive else Status.CLOSED

    @property
    def connected(self) -> bool:
        """Tell whether a stream is live now."""
        return self._here().connected and self._is_alive

    @property
    def is_current(self) -> bool:
        """Tell whether a stream is live and the flags are as new as it has told of."""
        return self._here().is_current and self._is_alive

    @property
    def counts(self) -> Counts:
        """What this client has done so far in this process: streams, fetches, failures."""
        return replace(self._here().counts, callback_errors=self._audience.errors)

    # Hearing of changes.

    def changes(self) -> BlockingChanges:
        """Return an iterator, which blocks, of every change from now on; the first load is none.

        A reader that falls behind by more than 1,000 changes gets them merged, one for each feature.
        """
        self._here()
        return self._audience.changes()

    def on_change(self, callback: PlainCallback) -> Callable[[], None]:
        """Call `callback` with every change from now on; the function returned ends that.

        It is called in a daemon thread of its own, one change at a time, in order; offline by `set` itself. A callback
        that raises is logged and counted, and called again for the next. Raises TypeError for a coroutine function.
        """
        self._here()
        return self._audience.add(callback)

    def add_hooks(self, hooks: Hooks) -> Callable[[], None]:
        """Tell `hooks` too from now on, on the client's loop; the function returned ends that."""
        attached = _Attached(hooks)
        with self._lock:
            attached.to(self._here())
            self._hooks.append(attached)

        def remove() -> None:
            with self._lock:
                if attached in self._hooks:
                    self._hooks.remove(attached)
                    attached.remove()

        return remove

    def set(self, name: str, state: Any) -> None:
        """Set a feature of an offline client, as a test does: `state` is as in `from_dict`.

        Callbacks have been called when it returns. Raises ConfigurationError where the client is not offline, or
        `state` is no state.
        """
        self._by_hand(lambda client: client.set(name, state))

    def remove(self, name: str) -> None:
        """Take a feature away from an offline client, as a test does. Raises ConfigurationError where it is not."""
        self._by_hand(lambda client: client.remove(name))

    # Asking for identities.

    def identity(self, identifier: str, traits: Mapping[str, Any] | None = None) -> Flags:
        """Return the flags of one identity, as `FlagClient.identity` does.

        Waits `request_timeout` seconds and one more at most; then the environment's flags are the answer, if there
        are any, or else DocumentError is raised.
        """
        client = self._here()
        if self._local or self._background is None:
            return _at_once(client.identity(identifier, traits))
        try:
            return self._call(lambda: client.identity(identifier, traits), self._request_timeout)
        except TimeoutError:
            flags = client.flags
            if flags.source is Source.NONE:
                raise DocumentError(f"no answer within {self._request_timeout:g} s") from None
            return Flags(flags, flags.version, Source.ENVIRONMENT)

    # Life.

    def __enter__(self) -> Self:
        self.start()
        if self._require_ready:
            try:
                self.wait_until_ready(self._ready_timeout)
            except BaseException:  # KeyboardInterrupt too: nothing may be left running
                self.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin in the background, without waiting for anything; raises ClientStoppedError the second time."""
        with self._lock:
            self._here()
            if self._started or self._closed:
                raise ClientStoppedError("a SyncFlagClient is started once; make another one")
            self._started = True
            self._launch()

    def close(self) -> None:
        """Stop: the stream is closed, iterators end after what is unread. Raises the client's own fault, if any.

        Waits for a callback that is under way, 5 s at most.
        """
        self._forbid_waiting()
        self._close(CLOSE)

    def wait_until_ready(self, timeout: float | None = None) -> None:
        """Return once there are flags: the server's, or, when it cannot be reached, those of cache or bootstrap.

        Raises NotReadyError after `timeout` seconds (None: never) without any, KeyRefusedError as soon as the server
        refuses the key, and ClientStoppedError when the client ends meanwhile. The client goes on trying all the same.
        """
        client = self._here()
        if self._offline or (self._closed and client.flags.source is not Source.NONE):
            return
        try:
            self._call(lambda: client.wait_until_ready(timeout), timeout)
        except NotReadyError:
            raise
        except TimeoutError:
            raise NotReadyError(timeout or 0.0, None) from None

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse copies, which would share one thread, and pickling, which cannot take it along."""
        raise TypeError("a SyncFlagClient can be neither copied nor pickled; forked processes have it without either")

    # What forks and exits do (`Resident`).

    def after_fork(self) -> None:
        """Take that this is a copy in a new process."""
        self._locks = {}
        self._process = 0
        self._leave()
        if self._audience.has_callbacks:
            self._take_up()

    def at_exit(self) -> None:
        """Close, without waiting for long."""
        if self._process == getpid():
            with contextlib.suppress(ClientStoppedError):
                self._close(EXIT)

    # What runs in the background.

    def _flag(self, name: str) -> Flag | None:
        return self._here().flags.get(name)

    def _here(self) -> FlagClient:
        """Return this process's client; after a fork, make it."""
        if self._process != getpid():
            self._take_up()
        return self._client

    @property
    def _lock(self) -> threading.RLock:
        # One a process: whoever held the parent's may not exist here. Reentrant: signal handlers close clients.
        return self._locks.setdefault(getpid(), threading.RLock())

    @property
    def _is_alive(self) -> bool:
        return not self._closed and (self._background is None or not self._background.is_over)

    def _take_up(self) -> None:
        """Begin in a process that was forked, with the flags that there were."""
        with self._lock:
            if self._process == getpid():
                return
            if self._left != getpid():  # a server that forks in C may not tell Python of it
                self._leave()
            try:
                if self._started and not self._closed and not self._offline:
                    self._renew(None, self._client.flags)
                    self._launch()
            except Exception:  # noqa: BLE001 - whoever only reads a flag is not to be told
                _log.exception("flags are not followed in this forked process; they stay as they are")
            self._process = getpid()  # not before, for other threads wait for the lock until then

    def _leave(self) -> None:
        """Leave to the parent what is the parent's."""
        background, self._background = self._background, None
        if background is not None:
            background.abandon()
        self._audience.after_fork()
        self._left = getpid()

    def _renew(self, bootstrap: Bootstrap | None, flags: Flags | None = None) -> None:
        self._http = None if self._make_http is None else self._make_http()
        client = self._make(bootstrap, self._http)
        for attached in self._hooks:
            attached.to(client)
        if flags is not None:
            client.begin_with(flags)
        self._client = client  # whole, for other threads read it without a lock

    def _launch(self) -> None:
        if not self._offline:
            self._audience.run()
            self._background = BackgroundLoop(_follow(self._client, self._http, self._audience), "flagstream client")

    def _close(self, timeout: float) -> None:
        with self._lock:
            self._closed = True
            self._here()  # which leaves to a parent what is the parent's, and begins nothing any more
            background, self._background = self._background, None
        try:
            if background is not None:
                background.close(self._client.aclose, timeout)
        finally:
            self._audience.close()
            self._audience.join(timeout)

    def _call(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float | None) -> T:
        """Have the loop run a coroutine; TimeoutError where it does not answer `MARGIN` seconds after the timeout."""
        self._forbid_waiting()
        if (background := self._background) is None:
            why = "is closed" if self._closed else "was not started"
            raise ClientStoppedError(f"the flag client {why}")
        most = None if timeout is None or timeout > _FOR_EVER else timeout + MARGIN
        return background.call(make, most)

    def _before_wait(self) -> None:
        self._here()
        self._forbid_waiting()

    def _forbid_waiting(self) -> None:
        if self._background is not None and self._background.is_here:
            raise RuntimeError("this would wait for the very thread that it is called from: hooks must not block")

    def _by_hand(self, act: Callable[[FlagClient], None]) -> None:
        with self._lock:
            client = self._here()
            before = client.flags
            act(client)
            changes = difference(before, client.flags, client.version)
        self._audience.put(changes)


class _Attached:
    """Hooks, and what detaches them from the client of this process."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self.remove: Callable[[], None] = lambda: None

    def to(self, client: FlagClient) -> None:
        self.remove = client.add_hooks(self._hooks)


async def _follow(client: FlagClient, http: httpx.AsyncClient | None, audience: Audience) -> None:
    changes = client.changes()
    client.start()
    try:
        async for change in changes:
            audience.put([change])
    except ClientStoppedError as stopped:  # the client has logged it; whoever listens is to know
        audience.close(stopped.__cause__)
    finally:
        audience.close()
        if http is not None:
            await http.aclose()


def _at_once(answer: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that has nothing to wait for; ClientStoppedError where it has."""
    try:
        answer.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    answer.close()
    raise ClientStoppedError("the flag client was not started, or is closed")
