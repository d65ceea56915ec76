"""What a flag comes to in OpenFeature's terms: value, variant, reason, error (specification, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from openfeature.exception import FlagNotFoundError, ParseError, ProviderNotReadyError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagType, Reason

from sdk_client.errors import ValueTypeError, shown
from sdk_client.flags import Flag, Flags, Source
from sdk_client.status import Status
from sdk_client.values import as_boolean, as_integer, as_json, as_number, as_string

__all__ = ["BooleanFrom", "Disabled", "Resolver", "View"]

T = TypeVar("T")

BooleanFrom = Literal["enabled", "value"]
Disabled = Literal["default", "value"]

MAX_VARIANT: Final = 64
"""Characters of a value that serves as the name of its variant; longer ones are documents, not names."""

_OUT_OF_DATE: Final = (Status.STARTING, Status.STALE, Status.CLOSED)


@dataclass(frozen=True, slots=True)
class View:
    """The flags to resolve from, and how the client stands; `environment` has everybody's flags for an identity's."""

    flags: Flags
    status: Status
    environment: Mapping[str, Flag] | None = None

    def reason(self, flag: Flag) -> Reason:
        """Return why the flag is what it is."""
        if not flag.enabled:
            return Reason.DISABLED
        if self.flags.source is Source.CACHE:
            return Reason.CACHED
        if self.status in _OUT_OF_DATE:
            return Reason.STALE
        if self.flags.source is Source.ENVIRONMENT and self.status is not Status.OFFLINE:
            return Reason.STALE
        if self.environment is None:
            return Reason.STATIC
        # A rule that gave the identity what everybody gets cannot be told from no rule at all.
        return Reason.DEFAULT if flag == self.environment.get(flag.name) else Reason.TARGETING_MATCH


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves flags by two choices: what a boolean is, and what a feature that is off comes to."""

    boolean_from: BooleanFrom
    disabled: Disabled

    def resolve(self, kind: FlagType, key: str, default: T, view: View) -> FlagResolutionDetails[T]:
        """Return the details; raises FlagNotFoundError, TypeMismatchError, ParseError or ProviderNotReadyError."""
        flag = view.flags.get(key)
        if flag is None:
            if view.flags.source is Source.NONE and view.status is not Status.OFFLINE:
                raise ProviderNotReadyError("no flags have been loaded yet")
            raise FlagNotFoundError(f"there is no feature {key!r}")
        metadata = {"enabled": flag.enabled, "version": view.flags.version, "source": view.flags.source.value}
        if kind is FlagType.BOOLEAN and self.boolean_from == "enabled":
            value: Any = flag.enabled
        elif not flag.enabled and self.disabled == "default":
            return FlagResolutionDetails(value=default, reason=Reason.DISABLED, flag_metadata=metadata)
        elif flag.value is None:
            return FlagResolutionDetails(value=default, reason=Reason.DEFAULT, flag_metadata=metadata)
        else:
            value = _read(kind, flag)
        return FlagResolutionDetails(
            value=value, variant=_variant(value), reason=view.reason(flag), flag_metadata=metadata
        )


def _read(kind: FlagType, flag: Flag) -> Any:
    try:
        return _READERS[kind](flag.value)
    except ValueTypeError as error:
        wrong = ParseError if error.wanted == "JSON" else TypeMismatchError
        raise wrong(f"feature {flag.name!r}: {error}") from None


def _object(value: Any) -> Any:
    read = as_json(value)
    if not isinstance(read, dict | list):
        raise ValueTypeError("object", value)
    return read if isinstance(value, str) else deepcopy(read)  # the caller may change what it gets, the flags may not


def _variant(value: Any) -> str | None:
    """Return the value as text, for values have no other name; nothing for structures and long texts."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict | list):
        return None
    text = value if isinstance(value, str) else shown(value)
    return text if 0 < len(text) <= MAX_VARIANT else None


_READERS: Final[Mapping[FlagType, Callable[[Any], Any]]] = {
    FlagType.BOOLEAN: as_boolean,
    FlagType.STRING: as_string,
    FlagType.INTEGER: as_integer,
    FlagType.FLOAT: as_number,
    FlagType.OBJECT: _object,
}
