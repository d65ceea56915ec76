"""Who listens to a client's changes without asyncio: iterators that block, and callbacks with a thread each."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from weakref import WeakSet

from sdk_client.blocking import BlockingChanges
from sdk_client.changes import Change

__all__ = ["Audience", "PlainCallback"]

_log = logging.getLogger("sdk_client")

PlainCallback = Callable[[Change], object]


class Audience:
    """Hands changes to iterators and callbacks, each at its own pace, so that a slow one holds up nobody.

    `before_wait` is called before an iterator blocks. With `inline`, callbacks have no threads: `put` calls them.
    """

    def __init__(self, before_wait: Callable[[], None], *, inline: bool = False) -> None:
        self._before_wait = before_wait
        self._inline = inline
        self._lock = threading.RLock()
        self._changes: WeakSet[BlockingChanges] = WeakSet()
        self._callbacks: list[_Callback] = []
        self._errors = 0
        self._running = False
        self._closed = False
        self._fault: BaseException | None = None

    @property
    def has_callbacks(self) -> bool:
        """Tell whether somebody waits for changes without asking."""
        return bool(self._callbacks)

    @property
    def errors(self) -> int:
        """How often callbacks raised."""
        with self._lock:
            return self._errors + sum(each.errors for each in self._callbacks)

    def changes(self) -> BlockingChanges:
        """Return a new iterator; it has ended already if the client has."""
        changes = BlockingChanges(self._before_wait)
        with self._lock:
            self._changes.add(changes)
            if self._closed:
                changes.close(self._fault)
        return changes

    def add(self, callback: PlainCallback) -> Callable[[], None]:
        """Call `callback` with every change from now on; the function returned ends that."""
        if inspect.iscoroutinefunction(callback):
            raise TypeError("a coroutine function needs a loop to run on: use FlagClient, or a plain function here")
        member = _Callback(callback, self.changes())
        with self._lock:
            self._callbacks.append(member)
            if self._running:
                member.start()

        def stop() -> None:
            with self._lock:
                if member in self._callbacks:
                    self._callbacks.remove(member)
                    self._errors += member.errors
            member.changes.cancel()

        return stop

    def run(self) -> None:
        """Begin to call back."""
        with self._lock:
            self._running = not self._inline
            for each in self._callbacks if self._running else ():
                each.start()

    def put(self, changes: Sequence[Change]) -> None:
        """Hand changes to everybody."""
        with self._lock:
            everybody, callbacks = [*self._changes], [*self._callbacks] if self._inline else []
        for each in everybody:
            each.put(changes)
        for callback in callbacks:
            while callback.has_called():
                pass

    def close(self, fault: BaseException | None = None) -> None:
        """End all iterators once they are read, with the client's own fault if it had one; calls back no more."""
        with self._lock:
            self._closed = True
            self._fault = self._fault or fault
            everybody, callbacks = [*self._changes], [*self._callbacks]
        for callback in callbacks:
            callback.changes.cancel()
        for each in everybody:
            each.close(fault)

    def join(self, timeout: float) -> None:
        """Wait for the callbacks under way, `timeout` seconds at most, but not for the one that this is called from."""
        until = monotonic() + timeout
        for each in [*self._callbacks]:
            each.join(max(0.0, until - monotonic()))

    def after_fork(self) -> None:
        """Go on in a child: without threads, and without locks that a thread of the parent may hold."""
        self._lock = threading.RLock()
        self._running = False
        for each in [*self._changes]:
            each.after_fork()
        for callback in self._callbacks:
            callback.after_fork()


class _Callback:
    """One callback; `errors` counts what it raised."""

    def __init__(self, callback: PlainCallback, changes: BlockingChanges) -> None:
        self.changes = changes
        self.errors = 0
        self._callback = callback
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Call back from a thread of its own from now on."""
        self._thread = threading.Thread(target=self._run, name="flagstream callback", daemon=True)
        self._thread.start()

    def has_called(self, timeout: float | None = 0.0) -> bool:
        """Call back with the next change; return False where none came within `timeout` seconds, or ever will."""
        try:
            change = self.changes.take(timeout)
        except TimeoutError:
            return False
        if change is None:
            return False
        try:
            self._callback(change)
        except (Exception, SystemExit):  # noqa: BLE001 - the user's code: whatever it raises must not stop the flags
            self.errors += 1
            _log.exception("a callback failed on a change of %r", change.feature)
        return True

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def after_fork(self) -> None:
        """Go on in a child, which the thread does not exist in."""
        self._thread = None

    def _run(self) -> None:
        # A callback may fork: then the child goes on here, beside the thread that was made for it.
        while self._thread is threading.current_thread() and self.has_called(None):
            pass
