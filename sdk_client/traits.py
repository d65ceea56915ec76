"""Identities and their traits, checked where they enter, and the request that asks a server for their flags."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdk_client.errors import ConfigurationError

__all__ = ["IdentityRequest", "Trait", "check_identifier", "check_traits", "identity_request"]

Trait = str | int | float | bool | None

_MAX_INTEGER: Final = 2**63
"""What the databases behind flags APIs hold; Python's own integers know no end."""


@dataclass(frozen=True, slots=True)
class IdentityRequest:
    """What to post; equal for the same identity with the same traits, in whatever order they were given."""

    path: str
    body: bytes


def identity_request(identifier: str, traits: Mapping[str, Any] | None = None) -> IdentityRequest:
    """Return the request for an identity's flags; raises ConfigurationError, naming the trait that is wrong."""
    content = {
        "identifier": check_identifier(identifier),
        "traits": [{"trait_key": name, "trait_value": value} for name, value in check_traits(traits).items()],
    }
    return IdentityRequest("/api/v1/identities/", json.dumps(content, separators=(",", ":")).encode())


def check_identifier(identifier: Any) -> str:
    """Return `identifier`, or raise ConfigurationError unless it is text that is not empty."""
    if not isinstance(identifier, str) or not identifier:
        raise ConfigurationError("identifier", "must be text that is not empty")
    if not _is_unicode(identifier):
        raise ConfigurationError("identifier", "must not contain half of a surrogate pair")
    return identifier


def check_traits(traits: Any) -> dict[str, Trait]:
    """Return the traits by name in alphabetical order, or raise ConfigurationError naming the one that is wrong."""
    given: Mapping[Any, Any] = {} if traits is None else traits
    if not isinstance(given, Mapping):
        raise ConfigurationError("traits", 'must be a mapping, as in {"plan": "free"}')
    for name, value in given.items():
        if not isinstance(name, str) or not name or not _is_unicode(name):
            raise ConfigurationError("traits", f"must have names that are text and not empty, not {name!r}")
        _check_value(f"the trait {name!r}", value)
    return dict(sorted(given.items()))


def _check_value(argument: str, value: Any) -> None:
    match value:
        case None | bool():
            return
        case str():
            if not _is_unicode(value):
                raise ConfigurationError(argument, "must not contain half of a surrogate pair")
        case int():
            if not -_MAX_INTEGER <= value < _MAX_INTEGER:
                raise ConfigurationError(argument, "must fit into 64 bits")
        case float():
            if not math.isfinite(value):
                raise ConfigurationError(argument, "must be a finite number")
        case _:
            kind = type(value).__name__
            raise ConfigurationError(argument, f"must be text, a number, True, False or None, not of type {kind}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
