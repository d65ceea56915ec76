"""Who listens to a client's changes: iterators and callbacks, each at its own pace."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakSet

from sdk_client.awaiting import Changes
from sdk_client.changes import Change

__all__ = ["Callback", "Listeners"]

_log = logging.getLogger("sdk_client")

Callback = Callable[[Change], Awaitable[None] | None]


class Listeners:
    """Hands changes to iterators, and to callbacks by a task each; `errors` counts what callbacks raised."""

    def __init__(self) -> None:
        self._changes: WeakSet[Changes] = WeakSet()
        self._callbacks: dict[Changes, Callback] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._closed = False
        self._fault: BaseException | None = None
        self.errors = 0

    def changes(self) -> Changes:
        """Return a new iterator; it has ended already if the client has."""
        changes = Changes()
        if self._closed:
            changes.close(self._fault)
        self._changes.add(changes)
        return changes

    def add(self, callback: Callback) -> Callable[[], None]:
        """Call `callback` with every change from now on; the function returned ends that."""
        changes = self.changes()
        self._callbacks[changes] = callback
        if self._tasks is not None:
            self._tasks.create_task(self._call(changes, callback))

        def stop() -> None:
            self._callbacks.pop(changes, None)
            changes.cancel()

        return stop

    def run(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to call back, by tasks of `tasks`."""
        self._tasks = tasks
        for changes, callback in self._callbacks.items():
            tasks.create_task(self._call(changes, callback))

    def put(self, changes: Sequence[Change]) -> None:
        """Hand changes to everybody."""
        for each in [*self._changes]:
            each.put(changes)

    def close(self, fault: BaseException | None) -> None:
        """End all iterators once they are read, with the client's own fault if it had one."""
        self._tasks = None
        self._closed = True
        self._fault = fault
        for each in [*self._changes]:
            each.close(fault)

    async def _call(self, changes: Changes, callback: Callback) -> None:
        async for change in changes:
            try:
                result = callback(change)
                if inspect.isawaitable(result):
                    await result
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._report(change)  # something it awaited was cancelled, not we: it must not go deaf
            except Exception:  # noqa: BLE001 - the user's code: whatever it raises must not stop the flags
                self._report(change)

    def _report(self, change: Change) -> None:
        self.errors += 1
        _log.exception("a callback failed on a change of %r", change.feature)
