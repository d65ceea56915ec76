"""The two clients as the provider needs them: to wait for, and to ask for an identity, from any thread or loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, TypeVar

from openfeature.exception import GeneralError, ProviderNotReadyError

from sdk_client.client import FlagClient
from sdk_client.flags import Flags
from sdk_client.hooks import Hooks
from sdk_client.status import Status
from sdk_client.sync import SyncFlagClient

__all__ = ["Access", "Asynchronous", "Blocking", "access_to"]

T = TypeVar("T")

MARGIN: Final = 1.0
"""Seconds beyond the client's own bound that are waited for its loop, which may be busy or have ended."""

IDENTITY_TIMEOUT: Final = 30.0
"""Seconds after which a thread no longer waits for an identity; the client's own bound is its request_timeout."""


class Client(Protocol):
    """What both clients have in common."""

    @property
    def flags(self) -> Flags:
        """All flags."""

    @property
    def status(self) -> Status:
        """How fresh they are."""

    def add_hooks(self, hooks: Hooks) -> Callable[[], None]:
        """Tell hooks too."""


class Access(Protocol):
    """One client, whichever kind it is."""

    @property
    def client(self) -> Client:
        """The client itself."""

    def wait_until_ready(self, seconds: float) -> None:
        """Return once there are flags; raises what the client raises, or ProviderNotReadyError."""

    def identity(self, identifier: str, traits: Mapping[str, Any]) -> Flags:
        """Return the flags of an identity, having blocked the thread for them."""

    async def identity_async(self, identifier: str, traits: Mapping[str, Any]) -> Flags:
        """Return the flags of an identity; blocks no loop."""


class Blocking:
    """A `SyncFlagClient`, which brings its own loop."""

    def __init__(self, client: SyncFlagClient) -> None:
        self.client = client

    def wait_until_ready(self, seconds: float) -> None:
        """Wait for flags (`Access`)."""
        self.client.wait_until_ready(seconds)

    def identity(self, identifier: str, traits: Mapping[str, Any]) -> Flags:
        """Ask for an identity (`Access`)."""
        return self.client.identity(identifier, traits)

    async def identity_async(self, identifier: str, traits: Mapping[str, Any]) -> Flags:
        """Ask for an identity in a thread (`Access`)."""
        return await asyncio.to_thread(self.client.identity, identifier, traits)


class Asynchronous:
    """A `FlagClient`, which lives on the loop that it was started on; that loop must never wait for itself."""

    def __init__(self, client: FlagClient) -> None:
        self.client = client

    def wait_until_ready(self, seconds: float) -> None:
        """Wait for flags (`Access`); on the client's own loop it does not wait but looks."""
        self._call(
            lambda: self.client.wait_until_ready(seconds),
            seconds + MARGIN,
            ProviderNotReadyError(
                "this is the flag client's own event loop, which cannot wait for itself: await "
                "client.wait_until_ready() first, or asyncio.to_thread(api.set_provider_and_wait, provider)"
            ),
        )

    def identity(self, identifier: str, traits: Mapping[str, Any]) -> Flags:
        """Ask for an identity (`Access`); on the client's own loop only what needs no request can be had."""
        return self._call(
            lambda: self.client.identity(identifier, traits),
            IDENTITY_TIMEOUT,
            GeneralError(
                "an identity's flags cannot be waited for on the flag client's own event loop: "
                "use the SDK's methods that end in _async"
            ),
        )

    async def identity_async(self, identifier: str, traits: Mapping[str, Any]) -> Flags:
        """Ask for an identity on the client's loop (`Access`)."""
        loop = self.client.loop
        asked = self.client.identity(identifier, traits)
        if loop is None or loop is asyncio.get_running_loop():
            return await asked
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, loop))

    def _call(self, make: Callable[[], Coroutine[Any, Any, T]], seconds: float, refusal: Exception) -> T:
        loop = self.client.loop
        if loop is None or not loop.is_running() or loop is _running_loop():
            return _at_once(make(), refusal)
        future = asyncio.run_coroutine_threadsafe(make(), loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            if future.done():  # the client's own word, NotReadyError
                raise
            future.cancel()
            raise ProviderNotReadyError(f"the flag client's event loop did not answer within {seconds:g} s") from None


def access_to(client: FlagClient | SyncFlagClient) -> Access:
    """Return the access to a client of either kind."""
    return Asynchronous(client) if isinstance(client, FlagClient) else Blocking(client)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _at_once(coroutine: Coroutine[Any, Any, T], refusal: Exception) -> T:
    """Return what a coroutine returns without having to wait; raises `refusal` if it would have to."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    except RuntimeError:  # asyncio's, where a timer is set outside of a task
        raise refusal from None
    coroutine.close()
    raise refusal
