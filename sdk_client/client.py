"""`FlagClient`: an environment's flags in memory, held at the newest version by the stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike
from random import Random, SystemRandom
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self, SupportsIndex

import httpx

from sdk_client.addresses import Addresses
from sdk_client.arguments import check_kinds, check_poll_interval, check_seconds, check_switches, hooks_of
from sdk_client.awaiting import Changes
from sdk_client.bootstrap import Bootstrap, read_bootstrap
from sdk_client.cache import Cached, DiskCache
from sdk_client.changes import difference
from sdk_client.documents import Document, read_environment, read_flags
from sdk_client.errors import ClientStoppedError, ConfigurationError, DocumentError, NotReadyError
from sdk_client.evaluation import Environment, require_engine
from sdk_client.flags import Flag, Flags, Getters, Source
from sdk_client.hooks import Hooks, HooksInUse, Update
from sdk_client.identities import Identities
from sdk_client.keeping import Keeper
from sdk_client.keys import SERVER_KEY_PREFIX, check_client_key, check_key
from sdk_client.listeners import Callback, Listeners
from sdk_client.loading import Loaded, Loader, http_client
from sdk_client.reconnect import Backoff
from sdk_client.status import Status
from sdk_client.traits import identity_request
from sdk_client.updater import Counts, Target, Updater
from sdk_client.versions import seconds_of

__all__ = ["FlagClient"]

_log = logging.getLogger("sdk_client")


class FlagClient(Getters):
    """The flags of one environment, always at hand and followed live.

        async with FlagClient(environment_key="…", api_url="https://flags.example.com") as flags:
            if flags.is_enabled("banner"):
                print(flags.string("banner", "Welcome"))

    `environment_key` is a client key, or a server key (``ser.…``): then the stream's client key is read from the
    environment document unless `client_key` gives it. `stream_url` is only needed where streams are served elsewhere
    than `api_url`. `spread`, in seconds, is the longest random wait before a change is fetched: 0 is right for
    a few servers, many clients behind one CDN want some. `heartbeat` is the server's, in seconds. While no stream can
    be had, flags are fetched every `poll_interval` seconds (0: never); ``streaming=False`` only polls.

    `bootstrap` (a mapping, or a file of JSON, as `sdk_client.bootstrap` reads it) and `cache` (a file or folder for the
    last known good flags) are what the program starts with when everything else is down. ``offline=True`` asks nobody,
    ever. `local_evaluation` works identities out here; it needs a server key and the extra ``flagstream[local]``.
    `hooks` are told of streams, fetches and states. `http` is an httpx client to use (and not to close) instead of one
    of its own, for proxies or certificates.

    Entering waits up to `ready_timeout` seconds for the first flags and raises NotReadyError or KeyRefusedError
    without any; with ``require_ready=False`` it does not wait, and defaults are answered until the flags are there.
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
        poll_interval: float = 60.0,
        streaming: bool = True,
        local_evaluation: bool = False,
        bootstrap: Bootstrap | None = None,
        cache: str | PathLike[str] | None = None,
        offline: bool = False,
        hooks: Hooks | Iterable[Hooks] = (),
        backoff: Backoff | None = None,
        http: httpx.AsyncClient | None = None,
        random: Random | None = None,
    ) -> None:
        check_switches(
            require_ready=require_ready, streaming=streaming, local_evaluation=local_evaluation, offline=offline
        )
        check_seconds(ready_timeout=ready_timeout, request_timeout=request_timeout, heartbeat=heartbeat)
        check_seconds(or_zero=True, spread=spread)
        check_poll_interval(poll_interval, streaming=streaming)
        check_kinds(backoff=backoff, http=http, random=random)
        check_key(environment_key)
        if local_evaluation and not environment_key.startswith(SERVER_KEY_PREFIX):
            raise ConfigurationError("local_evaluation", "needs a server key, which begins with 'ser.'")
        if local_evaluation:
            require_engine()
        self._require_ready = require_ready
        self._ready_timeout = ready_timeout
        self._offline = offline
        self._http = http
        self._local = local_evaluation
        self._environment: Environment | None = None
        self._flags = _NONE if bootstrap is None else Flags(read_bootstrap(bootstrap), 0, Source.BOOTSTRAP)
        self._cache = None if cache is None else DiskCache(cache, environment_key)
        self._hooks = HooksInUse(hooks_of(hooks))
        self._listeners = Listeners()
        self._target = Target(
            addresses=Addresses.of(api_url, stream_url),
            key=environment_key,
            client_key=None if client_key is None else check_client_key(client_key),
            request_timeout=request_timeout,
            heartbeat=heartbeat,
            spread=spread,
            poll_interval=poll_interval,
            streaming=streaming,
            local=local_evaluation,
            backoff=backoff,
        )
        self._random = random or _RANDOM
        self._identities: Identities | None = None
        self._updater = Updater(
            self._target,
            random=self._random,
            hooks=self._hooks,
            on_loaded=self._take,
        )
        self._updater.begin_with(self._flags)
        self._restore()
        self._keeper: Keeper | None = None
        self._task: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._closed = False

    @classmethod
    def from_dict(cls, flags: Mapping[str, Any]) -> Self:
        """Return a client that is offline and has these flags, for the tests of whoever uses one; `set` changes them.

        Values are as in a bootstrap: true and false switch a feature, anything else is its value, and
        ``{"enabled": …, "value": …}`` says both. Raises ConfigurationError.
        """
        if not isinstance(flags, Mapping):
            raise ConfigurationError("flags", 'must be a dict, as in {"banner": True, "limit": 10}')
        return cls(environment_key="offline", api_url="http://offline", offline=True, bootstrap=flags)

    # Reading flags: from memory, never with I/O. The typed getters are those of `Getters`.

    @property
    def flags(self) -> Flags:
        """All flags by name, as they are now; a later change makes another mapping."""
        return self._flags

    @property
    def version(self) -> int:
        """Version of the flags in microseconds since the epoch; 0 while unknown."""
        return self._flags.version

    @property
    def updated_at(self) -> float | None:
        """The version in Unix seconds, as events write it; None while unknown."""
        return seconds_of(self.version) if self.version else None

    @property
    def status(self) -> Status:
        """How fresh the flags are."""
        if self._closed or (self._task is not None and not self._running):
            return Status.CLOSED
        return Status.OFFLINE if self._offline else self._updater.subscription.status

    @property
    def connected(self) -> bool:
        """Tell whether a stream is live now."""
        return self._running and self._updater.subscription.connection.live

    @property
    def is_current(self) -> bool:
        """Tell whether a stream is live and the flags are as new as it has told of."""
        return self._running and self._updater.subscription.is_current

    @property
    def counts(self) -> Counts:
        """What this client has done so far: streams, fetches, failures."""
        return replace(self._updater.counts, callback_errors=self._listeners.errors, hook_errors=self._hooks.errors)

    async def identity(self, identifier: str, traits: Mapping[str, Any] | None = None) -> Flags:
        """Return the flags of one identity, a user say, evaluated by the server; or here, with `local_evaluation`.

        They are remembered until the environment changes, for 1,000 identities. Where the server cannot be asked they
        are the last known ones, or else the environment's own; `Flags.source` tells which. `traits` are text,
        numbers, booleans or None by name. Raises ConfigurationError for an identity that cannot be one, and, only
        while no flags at all are there, DocumentError or ClientStoppedError.
        """
        if self._environment is not None:
            flags = self._flags
            return self._environment.identity(identifier, traits, version=flags.version, source=flags.source)
        if self._identities is not None:
            return await self._identities.get(identifier, traits)
        identity_request(identifier, traits)
        if self._flags.source is Source.NONE:
            raise ClientStoppedError("the flag client was not started, or closed before it had flags")
        return Flags(self._flags, self.version, Source.ENVIRONMENT)

    # Hearing of changes.

    def changes(self) -> Changes:
        """Return an async iterator of every change from now on; the first load is none.

        A reader that falls behind by more than 1,000 changes gets them merged, one for each feature.
        """
        return self._listeners.changes()

    def on_change(self, callback: Callback) -> Callable[[], None]:
        """Call `callback`, plain or async, with every change from now on; the function returned ends that.

        One change at a time, in order. A callback that raises is logged and counted, and called again for the next.
        """
        return self._listeners.add(callback)

    def add_hooks(self, hooks: Hooks) -> Callable[[], None]:
        """Tell `hooks` too from now on; the function returned ends that."""
        return self._hooks.add(hooks)

    def set(self, name: str, state: Any) -> None:
        """Set a feature of an offline client, as a test does: `state` is as in `from_dict`. Listeners are told.

        Raises ConfigurationError where the client is not offline, or `state` is no state.
        """
        self._replace({**self._flags, **read_bootstrap({name: state})})

    def remove(self, name: str) -> None:
        """Take a feature away from an offline client, as a test does. Raises ConfigurationError where it is not."""
        self._replace({each: flag for each, flag in self._flags.items() if each != name})

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
        if self._task is not None or self._closed:
            raise ClientStoppedError("a FlagClient is started once; make another one")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="flag client")
        self._task.add_done_callback(self._on_done)

    def begin_with(self, flags: Flags) -> None:
        """Take, before `start`, flags that there are already: those of a process that this one was forked from, say."""
        if self._task is not None:
            raise ClientStoppedError("the flag client was started already")
        self._flags = flags
        self._updater.begin_with(flags)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it runs on; None before its start."""
        return None if self._task is None else self._task.get_loop()

    async def aclose(self) -> None:
        """Stop: the stream is closed, iterators end after what is unread. Raises the client's own fault, if any."""
        if self._task is None or self._task.get_loop().is_closed():  # the loop took everything along
            self._end()
            return
        if not self._task.cancelling():  # a second time would break off the closing of connections
            self._task.cancel()
        await asyncio.wait([self._task])
        if self._fault is not None:
            raise ClientStoppedError("the flag client failed") from self._fault

    async def wait_until_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - part of the interface
        """Return once there are flags: the server's, or, when it cannot be reached, those of cache or bootstrap.

        Raises NotReadyError after `timeout` seconds (None: never) without any, KeyRefusedError as soon as the server
        refuses the key, and ClientStoppedError when the client ends meanwhile. The client goes on trying all the same.
        """
        if self._offline:
            return
        if self._task is None:
            raise ClientStoppedError(f"the flag client {'is closed' if self._closed else 'was not started'}")
        updater = self._updater
        try:
            async with asyncio.timeout(timeout):
                await updater.answered.wait()
        except TimeoutError:
            if self._flags.source is Source.NONE:
                raise NotReadyError(timeout or 0.0, updater.last_error) from None
        if self._flags.source is not Source.NONE:
            return
        if self._closed:
            raise ClientStoppedError("the flag client is closed") from self._fault
        if updater.last_error is not None:
            raise updater.last_error

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse copies, which would share one stream, and pickling, which cannot take it along."""
        raise TypeError("a FlagClient can be neither copied nor pickled; make one in each process, or pass its flags")

    # What runs in the background.

    @property
    def _running(self) -> bool:
        task = self._task
        return task is not None and not task.done() and not task.get_loop().is_closed()

    def _flag(self, name: str) -> Flag | None:
        return self._flags.get(name)

    async def _run(self) -> None:
        if self._offline:
            async with asyncio.TaskGroup() as tasks:
                self._listeners.run(tasks)
                await asyncio.Event().wait()
        http, target = self._http or await http_client(), self._target
        loader = Loader(http, target.addresses, target.key, timeout=target.request_timeout, local=target.local)
        identities = Identities(loader, lambda: self._flags, random=self._random, backoff=target.backoff)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._listeners.run(tasks)
                self._keeper = None if self._cache is None else Keeper(self._cache, tasks)
                self._identities = None if target.local else identities
                await self._updater.run(http, loader)
        finally:
            self._identities = None
            await identities.aclose()
            if http is not self._http:
                await http.aclose()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
            _log.critical("the flag client failed; flags stay as they are", exc_info=fault)
        self._end()

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._listeners.close(self._fault)
        self._updater.answered.set()
        self._hooks.became(Status.CLOSED)

    def _restore(self) -> None:
        """Begin with the flags that the cache has, if any."""
        cached = None if self._cache is None else self._cache.load()
        if cached is None or cached.kind != self._kind:
            return
        try:
            document = (read_environment if self._local else read_flags)(_OK, {}, cached.body)
        except DocumentError as error:
            _log.warning("the flags that were kept on disk cannot be used: %s", error)
            return
        self._flags = Flags(document.flags, cached.version, Source.CACHE)
        self._environment = document.environment
        self._updater.begin_with(self._flags, cached.etag)

    @property
    def _kind(self) -> Literal["flags", "environment"]:
        return "environment" if self._local else "flags"

    def _take(self, loaded: Loaded, behind: float) -> None:
        before, answer = self._flags, loaded.answer
        version = self._updater.subscription.refetch.held
        if isinstance(answer, Document):
            self._flags = Flags(answer.flags, version, Source.SERVER)
            self._environment = answer.environment
            if self._keeper is not None:
                self._keeper.keep(Cached(self._kind, version, answer.labelled, answer.etag, loaded.body))
        else:
            self._flags = Flags(before, max(version, before.version), Source.SERVER)
        changes = () if before.source is Source.NONE else tuple(difference(before, self._flags, self.version))
        self._listeners.put(changes)
        if self.version > before.version or changes:
            self._hooks.updated(Update(changes, self.version, behind))

    def _replace(self, flags: Mapping[str, Flag]) -> None:
        if not self._offline:
            raise ConfigurationError("offline", "must be true for flags to be set by hand")
        before, self._flags = self._flags, Flags(flags, self._flags.version + 1, Source.BOOTSTRAP)
        changes = tuple(difference(before, self._flags, self.version))
        self._listeners.put(changes)
        self._hooks.updated(Update(changes, self.version, 0.0))


_NONE: Final = Flags()
_RANDOM: Final = SystemRandom()  # not a seeded one: forked processes must not wait in step
_OK: Final = 200
