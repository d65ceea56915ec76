"""The provider itself: its choices, its life, and whose flags an evaluation is about."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar, get_args

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import (
    GeneralError,
    InvalidContextError,
    OpenFeatureError,
    ProviderFatalError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagType
from openfeature.provider import FeatureProvider, Metadata, ProviderStatus

from sdk_client.arguments import check_seconds
from sdk_client.client import FlagClient
from sdk_client.errors import (
    ClientStoppedError,
    ConfigurationError,
    FlagClientError,
    KeyRefusedError,
    NotReadyError,
    shown,
)
from sdk_client.flags import Flags, Source
from sdk_client.openfeature.access import Access, access_to
from sdk_client.openfeature.announcer import Announcer
from sdk_client.openfeature.context import traits_of
from sdk_client.openfeature.resolution import BooleanFrom, Disabled, Resolver, View
from sdk_client.openfeature.typed import Typed
from sdk_client.openfeature.watch import READY, Watch, failure
from sdk_client.sync import SyncFlagClient

__all__ = ["FlagstreamProvider", "Identities"]

T = TypeVar("T")

Identities = Literal["auto", "never", "always"]

NAME: Final = "Flagstream"


class FlagstreamProvider(Typed):
    """An OpenFeature provider over a flag client.

    It is given a `client` of either kind, which its owner starts and closes, or the arguments of a `SyncFlagClient`:
    then it makes one of its own, started by `initialize` and closed by `shutdown`. `initialize` waits for flags up to
    `ready_timeout` seconds.

    ``boolean_from="enabled"``: a boolean flag is the feature's state, as with Flagsmith's own provider; with
    ``"value"`` it is its value. ``disabled="default"``: the value of a feature that is off is the caller's default
    (reason DISABLED); with ``"value"`` it is its value all the same. ``identities="auto"``: where the evaluation
    context has a targeting key, the flags are that identity's, with the context's attributes as traits; without one
    they are the environment's. ``"never"`` leaves it at those, ``"always"`` makes a targeting key a must.

    Raises ConfigurationError for arguments that cannot work.
    """

    def __init__(
        self,
        client: FlagClient | SyncFlagClient | None = None,
        *,
        boolean_from: BooleanFrom = "enabled",
        disabled: Disabled = "default",
        identities: Identities = "auto",
        ready_timeout: float = 10.0,
        **settings: Any,
    ) -> None:
        super().__init__()
        _check_choice("boolean_from", boolean_from, BooleanFrom)
        _check_choice("disabled", disabled, Disabled)
        _check_choice("identities", identities, Identities)
        check_seconds(ready_timeout=ready_timeout)
        if not isinstance(client, FlagClient | SyncFlagClient | None):
            raise ConfigurationError("client", f"must be a FlagClient or a SyncFlagClient, not {shown(client)}")
        if client is not None and settings:
            raise ConfigurationError(next(iter(settings)), "belongs to the client, which was given ready-made")
        self._settings = {**settings, "ready_timeout": ready_timeout}
        self._ready_timeout = ready_timeout
        self._identities = identities
        self._resolver = Resolver(boolean_from, disabled)
        self._given = client
        # Made here, so that arguments that cannot work are told where they stand, and not in a thread of the SDK's.
        self._own = SyncFlagClient(**self._settings) if client is None else None
        self._access: Access | None = None
        self._stop_watching: Callable[[], None] | None = None
        self._shut_down = False
        self._lock = threading.Lock()
        self._announcer = Announcer(self._tell, self._is_settled)

    # Life.

    def attach(self, on_emit: Callable[[FeatureProvider, ProviderEvent, ProviderEventDetails], None]) -> None:
        """Take where events are told; the SDK does so when the provider is registered."""
        self._shut_down = False
        super().attach(on_emit)

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - the SDK's signature
        """Wait for flags, and tell of what happens to them from then on.

        Raises ProviderFatalError where the server refuses the key, and ProviderNotReadyError where there are no flags
        in time. The client goes on trying in both cases, and PROVIDER_READY is told should it get them.
        """
        with self._lock:
            if self._shut_down:  # the SDK initialises in a thread, which a shutdown may overtake
                raise ProviderNotReadyError("the provider was shut down before it was initialised")
            access, watch = self._begin()
        outcome = READY
        try:
            access.wait_until_ready(self._ready_timeout)
        except (FlagClientError, OpenFeatureError) as error:
            if access.client.flags.source is Source.NONE:
                fault = _fault_of(error)
                outcome = failure(fault)
                raise fault from error
        finally:
            self._announcer.resume(outcome)
            watch.tell()

    def shutdown(self) -> None:
        """Tell no more, and close the client if it is the provider's own; may be called twice."""
        with self._lock:
            self._shut_down = True
            stop, self._stop_watching = self._stop_watching, None
            own, self._own = self._own, None
            self._access = None
        if stop is not None:
            stop()
        self._announcer.close()
        if own is not None:
            own.close()

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name=NAME)

    # Evaluation, for the methods of `Typed`.

    def _resolve(
        self, kind: FlagType, key: str, default: T, context: EvaluationContext | None
    ) -> FlagResolutionDetails[T]:
        access, identifier = self._asked(context)
        flags = None
        if context is not None and identifier:
            try:
                flags = access.identity(identifier, traits_of(context.attributes))
            except FlagClientError as error:
                raise _fault_of(error) from error
        return self._resolver.resolve(kind, key, default, _view(access, flags))

    async def _resolve_async(
        self, kind: FlagType, key: str, default: T, context: EvaluationContext | None
    ) -> FlagResolutionDetails[T]:
        access, identifier = self._asked(context)
        flags = None
        if context is not None and identifier:
            try:
                flags = await access.identity_async(identifier, traits_of(context.attributes))
            except FlagClientError as error:
                raise _fault_of(error) from error
        return self._resolver.resolve(kind, key, default, _view(access, flags))

    def _asked(self, context: EvaluationContext | None) -> tuple[Access, str | None]:
        access = self._access
        if access is None:
            raise ProviderNotReadyError("the provider is not initialised, or was shut down")
        identifier = context.targeting_key if context is not None else None
        if self._identities == "never":
            return access, None
        if not identifier and self._identities == "always":
            raise TargetingKeyMissingError("the provider was told to evaluate for identities only")
        return access, identifier

    # What is beneath.

    def _begin(self) -> tuple[Access, Watch]:
        if self._stop_watching is not None:  # the SDK up to 0.9 initialises once for each domain
            self._stop_watching()
        self._announcer.pause()
        if self._access is None:
            client = self._given
            if client is None:
                client = self._own = self._own or SyncFlagClient(**self._settings)
                client.start()
            self._access = access_to(client)
        client_of_either = self._access.client
        watch = Watch(self._announcer, client_of_either)
        self._stop_watching = client_of_either.add_hooks(watch)
        return self._access, watch

    def _tell(self, event: ProviderEvent, details: ProviderEventDetails) -> None:
        on_emit = getattr(self, "_on_emit", None)
        if on_emit is not None:  # detached meanwhile
            on_emit(self, event, details)

    def _is_settled(self) -> bool:
        """Tell whether the SDK has noted how the initialisation ended: what it notes last is the status it keeps."""
        registry = getattr(getattr(self, "_on_emit", None), "__self__", None)
        status = getattr(registry, "get_provider_status", None)
        return status is None or status(self) is not ProviderStatus.NOT_READY


def _view(access: Access, identity: Flags | None) -> View:
    client = access.client
    if identity is None:
        return View(client.flags, client.status)
    return View(identity, client.status, client.flags)


def _fault_of(error: Exception) -> OpenFeatureError:
    match error:
        case OpenFeatureError():
            return error
        case KeyRefusedError():
            return ProviderFatalError(str(error))
        case NotReadyError() | ClientStoppedError():
            return ProviderNotReadyError(str(error))
        case ConfigurationError():
            return InvalidContextError(str(error))
    return GeneralError(str(error))


def _check_choice(argument: str, given: str, choices: Any) -> None:
    if given not in get_args(choices):
        raise ConfigurationError(argument, f"must be one of {', '.join(map(repr, get_args(choices)))}")
