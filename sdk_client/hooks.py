"""Hooks: where logs and metrics of one's own are attached to a client.

Subclass `Hooks`, override what is of interest, pass an instance to the client. Hooks are called on the client's event
loop, one after the other, and must not block; one that raises is logged and counted, and called again the next time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from sdk_client.changes import Change
from sdk_client.errors import DocumentError
from sdk_client.reconnect import End
from sdk_client.status import Status

__all__ = ["Fetch", "FetchOutcome", "Hooks", "HooksInUse", "StreamOpened", "Update"]

_log = logging.getLogger("sdk_client")


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A stream went live, `seconds` after it was asked for."""

    seconds: float


class FetchOutcome(Enum):
    """What a fetch of the flags came to."""

    NEW = "new"
    """A document that is kept."""
    UNCHANGED = "unchanged"
    """The server's word that the flags held are still the same (304)."""
    OLDER = "older"
    """A document older than the flags held; thrown away."""
    FAILED = "failed"
    """Nothing of use; it is tried again."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetch of the flags, over after `seconds`; `version` is what it brought, 0 where nothing; `error` is why."""

    outcome: FetchOutcome
    seconds: float
    version: int = 0
    error: DocumentError | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """The flags are at `version` now; `changes` may be none, where only something else of the environment changed.

    `staleness` is the time in seconds from the announcement of a newer version to having it.
    """

    changes: tuple[Change, ...]
    version: int
    staleness: float


class Hooks:
    """Does nothing at every occasion; the base to subclass."""

    def on_stream_opened(self, stream: StreamOpened) -> None:
        """Take that a stream went live."""

    def on_stream_ended(self, end: End) -> None:
        """Take that a stream ended, or could not be had: `end.kind` says why, `end.is_error` whether that is one."""

    def on_fetch(self, fetch: Fetch) -> None:
        """Take that a fetch of the flags is over."""

    def on_update(self, update: Update) -> None:
        """Take that the flags are at a newer version."""

    def on_status(self, status: Status) -> None:
        """Take that the client's status is another."""


class HooksInUse:
    """The hooks of one client; `errors` counts what they raised."""

    def __init__(self, hooks: Hooks | Iterable[Hooks] = ()) -> None:
        self._hooks: list[Hooks] = [hooks] if isinstance(hooks, Hooks) else [*hooks]
        self.errors = 0

    def add(self, hooks: Hooks) -> Callable[[], None]:
        """Call `hooks` too from now on; the function returned ends that."""
        self._hooks.append(hooks)

        def remove() -> None:
            if hooks in self._hooks:
                self._hooks.remove(hooks)

        return remove

    def stream_opened(self, stream: StreamOpened) -> None:
        """Tell all of a stream that went live."""
        self._tell(lambda hooks: hooks.on_stream_opened(stream))

    def stream_ended(self, end: End) -> None:
        """Tell all of a stream's end."""
        self._tell(lambda hooks: hooks.on_stream_ended(end))

    def fetched(self, fetch: Fetch) -> None:
        """Tell all of a fetch."""
        self._tell(lambda hooks: hooks.on_fetch(fetch))

    def updated(self, update: Update) -> None:
        """Tell all of newer flags."""
        self._tell(lambda hooks: hooks.on_update(update))

    def became(self, status: Status) -> None:
        """Tell all of another status."""
        self._tell(lambda hooks: hooks.on_status(status))

    def _tell(self, call: Callable[[Hooks], None]) -> None:
        for hooks in [*self._hooks]:
            try:
                call(hooks)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - the user's code: whatever it raises must not stop the flags
                # CancelledError, as of a future of theirs, would pass for the end of the task that called.
                self.errors += 1
                _log.exception("a hook of %s failed", type(hooks).__name__)
