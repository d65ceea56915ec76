"""An asyncio event loop in a thread of its own, for code without asyncio, which a forked process can leave behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import math
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakSet

from sdk_client.errors import ClientStoppedError
from sdk_client.native import getaddrinfo, new_selector, start_thread

__all__ = ["BackgroundLoop"]

_log = logging.getLogger("sdk_client")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class BackgroundLoop:
    """Runs `main`, and whatever is called meanwhile, until `close`; the thread is a daemon."""

    def __init__(self, main: Coroutine[Any, Any, None], name: str) -> None:
        self._loop = _Loop()
        self._guard = threading.RLock()  # a signal handler may close the client in the middle of a call
        self._waiting: set[Future[Any]] = set()
        self._ended = threading.Event()
        self._main = self._loop.create_task(main, name=name)
        self._main.add_done_callback(_report)
        self._join = start_thread(self._run, name)

    @property
    def is_here(self) -> bool:
        """Tell whether this is called on the loop itself, where waiting for the loop would never end."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def is_over(self) -> bool:
        """Tell whether the thread has ended, by `close` or by a fault."""
        return self._ended.is_set()

    def call(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float | None) -> T:
        """Run a coroutine on the loop; return what it returns or raise what it raises.

        Raises TimeoutError when the loop has not answered after `timeout` seconds (None: never), and
        ClientStoppedError where it was closed.
        """
        future = self._submit(make)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise ClientStoppedError("the flag client is closed") from None
        finally:
            self._waiting.discard(future)
            future.cancel()  # nobody waits any more, after a timeout or KeyboardInterrupt

    def close(self, last: Callable[[], Coroutine[Any, Any, None]], timeout: float) -> None:
        """Run `last`, wait for `main` to end, end the thread; `timeout`, in seconds, bounds the first two and the last.

        Raises what `last` raises.
        """

        async def wind_up() -> None:
            try:
                await last()
            finally:
                await asyncio.wait([self._main])

        try:
            with contextlib.suppress(TimeoutError):
                self.call(wind_up, timeout)
        finally:
            with contextlib.suppress(RuntimeError):  # it is closed already
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._join(timeout)

    def abandon(self) -> None:
        """Leave everything to the process that this one was forked from; here the thread does not exist.

        Descriptors are closed, so that a connection ends when the parent ends it. Nothing else is touched: the loop's
        epoll is shared, and to unregister a socket here would unregister it there. Nothing is freed either, which would
        unwind coroutines in the middle of what they do: the frames of a thread that a fork lost are never freed, and
        they keep this object.
        """
        self._kept = self._loop.abandon()

    def _submit(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        with self._guard:  # so that no call comes between the loop's last step and its end, and waits for ever
            if self._ended.is_set():
                raise ClientStoppedError("the flag client is closed")
            future = asyncio.run_coroutine_threadsafe(make(), self._loop)
            self._waiting.add(future)
            return future

    def _run(self) -> None:
        loop = self._loop
        try:
            loop.run_forever()
            rest = asyncio.all_tasks(loop)
            for task in rest:
                task.cancel()
            if rest:
                loop.run_until_complete(asyncio.wait(rest))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except Exception:  # noqa: BLE001 - the border of a thread: nobody else would tell
            _log.critical("the flag client's event loop failed; flags stay as they are", exc_info=True)
        finally:
            with self._guard:
                self._ended.set()
            for future in [*self._waiting]:
                future.cancel()
            loop.close()


class _Loop(asyncio.SelectorEventLoop):
    """A loop that knows its descriptors, and whose helping threads never keep the interpreter from exiting."""

    def __init__(self) -> None:
        self._poller = new_selector()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._abandoned = False
        super().__init__(self._poller)
        self.slow_callback_duration = math.inf  # in debug mode it would warn of every wait for other threads

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self._sockets.add(sock)  # every connection passes here, before it has a transport
        await super().sock_connect(sock, address)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return await self.run_in_executor(None, partial(getaddrinfo, host, port, **options))

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        # Threads of the default executor are joined at exit: a name server that does not answer would hold it up.
        future: asyncio.Future[T] = self.create_future()

        def settle(settle: Callable[[], None]) -> None:
            if not future.done():
                settle()

        def work() -> None:
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits
                outcome: Callable[[], None] = partial(future.set_exception, error)
            else:
                outcome = partial(future.set_result, result)
            with contextlib.suppress(RuntimeError):  # the loop is closed, nobody awaits
                self.call_soon_threadsafe(settle, outcome)

        start_thread(work, "flagstream helper")
        return future

    def abandon(self) -> AbstractSet[asyncio.Task[Any]]:
        """Close the descriptors, as a child; return what must not be freed."""
        self._abandoned = True
        tasks = asyncio.all_tasks(self)
        self._poller.close()
        for sock in (*self._sockets, *(getattr(self, name, None) for name in ("_ssock", "_csock"))):
            # Detached: the objects must not close these numbers once more, which others will have by then.
            if sock is not None and (descriptor := sock.detach()) >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        return tasks

    def is_closed(self) -> bool:
        return self._abandoned or super().is_closed()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        _log.critical("the flag client failed; flags stay as they are", exc_info=fault)
