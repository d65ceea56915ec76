"""From the client's status to the provider's: what counts as ready, stale and wrong.

Polled flags are ready: they are as new as most providers' flags ever are, and a client that was told not to stream
would otherwise be stale for ever. A key that is refused while flags are held is an error, but not a fatal one: after a
fatal one the SDK answers every evaluation with the default, and a failure is never to take flags away.
"""

from __future__ import annotations

from typing import Final

from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode, OpenFeatureError

from sdk_client.errors import KeyRefusedError
from sdk_client.flags import Source
from sdk_client.hooks import Fetch, FetchOutcome, Hooks, Update
from sdk_client.openfeature.access import Client
from sdk_client.openfeature.announcer import Announcer, State
from sdk_client.status import Status

__all__ = ["READY", "Watch", "failure"]

READY: Final = State(ProviderEvent.PROVIDER_READY)

_STALE: Final = {
    Status.STARTING: "the flags are those brought along or kept on disk; the server has not answered yet",
    Status.STALE: "neither the stream nor the flags API can be reached; the flags stay as they are",
}


def failure(error: OpenFeatureError) -> State:
    """Return what the SDK makes of an initialisation that raised `error`."""
    return State(ProviderEvent.PROVIDER_ERROR, error.error_code, error.error_message or "")


class Watch(Hooks):
    """Follows one client, and hands on what the provider has to tell."""

    def __init__(self, announcer: Announcer, client: Client) -> None:
        self._announcer = announcer
        self._client = client
        self._refused = ""

    def on_fetch(self, fetch: Fetch) -> None:
        """Note whether the key is accepted."""
        before = self._refused
        if fetch.outcome is not FetchOutcome.FAILED:
            self._refused = ""
        elif isinstance(fetch.error, KeyRefusedError):
            self._refused = str(fetch.error)
        if self._refused != before:
            self.tell()

    def on_status(self, status: Status) -> None:  # noqa: ARG002 - the client's own word counts, see `tell`
        """Take that the flags are fresher, or less so."""
        self.tell()

    def on_update(self, update: Update) -> None:
        """Pass on what changed."""
        self.tell()
        self._announcer.changed([change.feature for change in update.changes], update.version)

    def tell(self) -> None:
        """Hand on how the provider stands.

        By what the client says now: a status remembered from a hook misses what changed before the hook was added.
        """
        while (state := self._state()) is not None:
            self._announcer.state(state)
            if self._state() == state:  # else another thread may have handed on the newer one before
                return

    def _state(self) -> State | None:
        has_flags = self._client.flags.source is not Source.NONE
        status = self._client.status
        if status is Status.CLOSED:
            return State(ProviderEvent.PROVIDER_ERROR, ErrorCode.GENERAL, "the flag client is closed")
        if self._refused:
            code = ErrorCode.GENERAL if has_flags else ErrorCode.PROVIDER_FATAL
            return State(ProviderEvent.PROVIDER_ERROR, code, self._refused)
        if not has_flags and status is not Status.OFFLINE:
            return None  # the initialisation has failed with that, and nothing new is known
        if status in _STALE:
            return State(ProviderEvent.PROVIDER_STALE, message=_STALE[status])
        return READY
