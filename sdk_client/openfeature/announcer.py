"""Telling OpenFeature what happened: in order, one at a time, and never on the client's own thread.

The SDK up to 0.9 runs the application's handlers right where an event is emitted. On the client's loop a slow handler
would hold up the flags, and one that evaluates a flag for an identity would wait for itself. So a thread is started
when there is something to tell, and ends when all is told: none stays behind, and none is missing after a fork.

Its memory is bounded. What waits to be told is the newest state and the names of the features that changed: a slow
handler misses steps in between, but never where the provider ended up.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final
from weakref import WeakSet

from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode

import sdk_client.forking  # noqa: F401 - so that what it does at exit is registered before ours, and called after it

__all__ = ["Announcer", "State"]

_log = logging.getLogger("sdk_client")

SETTLE: Final = 5.0
"""Seconds that the SDK is given to note how the initialisation ended, before anything else is told."""

PATIENCE: Final = 2.0
"""Seconds that closing waits for a handler that is running."""


@dataclass(frozen=True, slots=True)
class State:
    """An event that says how the provider stands, and why; two are the same if they make the same status."""

    event: ProviderEvent
    code: ErrorCode | None = None
    message: str = ""

    def is_like(self, other: State | None) -> bool:
        """Tell whether whoever knows the other one hears nothing new."""
        return other is not None and (self.event, self.code) == (other.event, other.code)


class Announcer:
    """Emits states and changes by `emit`, from `resume` on and as soon as `settled` is true."""

    def __init__(
        self, emit: Callable[[ProviderEvent, ProviderEventDetails], None], settled: Callable[[], bool]
    ) -> None:
        self._emit = emit
        self._settled = settled
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open = False
        self._told: State | None = None
        self._state: State | None = None
        self._changed: dict[str, None] = {}
        self._version = 0
        _ANNOUNCERS.add(self)

    def pause(self) -> None:
        """Keep what happens to itself while the provider is initialised."""
        with self._lock:
            self._open = False
            self._state = None

    def resume(self, told: State) -> None:
        """Begin to tell, from `told` on, which the SDK makes of the initialisation by itself."""
        with self._lock:
            self._open = True
            self._told = told
            self._changed.clear()
            self._version = 0
            self._start()

    def state(self, state: State) -> None:
        """Take how the provider stands now."""
        with self._lock:
            self._state = state
            self._start()

    def changed(self, features: Iterable[str], version: int) -> None:
        """Take that flags changed; no names mean that nobody knows whose."""
        with self._lock:
            self._changed.update(dict.fromkeys(features))
            self._version = version
            self._start()

    def close(self) -> None:
        """Tell no more, and wait for the thread unless it is the caller's own."""
        with self._lock:
            self._open = False
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(PATIENCE)

    def hold(self) -> None:
        """Let nobody else in while the process is copied: a lock held by a thread that is not copied stays locked."""
        self._lock.acquire()

    def go_on(self, *, is_copy: bool) -> None:
        """Take up again after `hold`; a copy has no threads but the one that made it."""
        if is_copy:
            self._thread = None
        self._lock.release()

    def fall_silent(self) -> None:
        """Tell no more, without waiting."""
        self._open = False

    def _start(self) -> None:
        if self._open and self._thread is None and self._is_due():
            self._thread = threading.Thread(target=self._run, name="openfeature events", daemon=True)
            self._thread.start()

    def _is_due(self) -> bool:
        return bool(self._version) or (self._state is not None and not self._state.is_like(self._told))

    def _run(self) -> None:
        deadline = time.monotonic() + SETTLE
        while self._open and not self._settled() and time.monotonic() < deadline:
            time.sleep(0.005)
        while (each := self._next()) is not None:
            try:
                self._emit(*each)
            except Exception:  # noqa: BLE001 - the user's handlers, up to 0.9: what one raises must cost no event
                _log.exception("a handler of %s failed", each[0].value)

    def _next(self) -> tuple[ProviderEvent, ProviderEventDetails] | None:
        with self._lock:
            if not self._open or not self._is_due():
                self._thread = None
                return None
            state = self._state
            if state is not None and not state.is_like(self._told):
                self._told = state
                return state.event, ProviderEventDetails(message=state.message or None, error_code=state.code)
            names, version = [*self._changed], self._version
            self._changed.clear()
            self._version = 0
        details = ProviderEventDetails(
            flags_changed=names or None,
            message=f"the flags are at version {version}",
            metadata={"version": version},
        )
        return ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, details


_ANNOUNCERS: WeakSet[Announcer] = WeakSet()
_held: list[Announcer] = []


def _before_fork() -> None:
    _held[:] = _ANNOUNCERS
    for announcer in _held:
        announcer.hold()


def _after_fork(*, is_copy: bool) -> None:
    while _held:
        _held.pop().go_on(is_copy=is_copy)


def _at_exit() -> None:
    for announcer in [*_ANNOUNCERS]:
        announcer.fall_silent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, is_copy=False),
        after_in_child=partial(_after_fork, is_copy=True),
    )
# What was registered earlier comes later: clients closing, which no handler can be told of any more.
atexit.register(_at_exit)
