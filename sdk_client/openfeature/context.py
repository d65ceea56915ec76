"""Traits from an evaluation context: what of its attributes an identity can be evaluated with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time
from typing import Any, Final

from sdk_client.errors import ConfigurationError
from sdk_client.traits import Trait, check_traits

__all__ = ["traits_of"]

TRAITS: Final = "traits"
"""A mapping under this name holds traits themselves, as Flagsmith's own provider has it."""

MAX_DEPTH: Final = 5
"""Mappings within mappings; deeper ones are left out, and so is one that holds itself."""


def traits_of(attributes: Mapping[str, Any]) -> dict[str, Trait]:
    """Return attributes as traits, which are text, finite numbers and booleans.

    Dates and times become ISO 8601 text, as they are (no time zone is made up). What a mapping holds gets dotted
    names (``plan.name``), a list becomes its JSON text. What can be none is left out: None, NaN, infinities, integers
    of more than 64 bits, bytes and other objects. A flag is evaluated all the same.
    """
    nested = attributes.get(TRAITS)
    own = nested if isinstance(nested, Mapping) else {}
    flat = {name: value for name, value in attributes.items() if value is not own}
    return {name: trait for each in (flat, own) for name, trait in _of_mapping("", each, 0) if _is_one(name, trait)}


def _is_one(name: str, trait: Trait) -> bool:
    try:
        check_traits({name: trait})
    except ConfigurationError:  # one odd attribute, which a flag may never look at, is not worth its default
        return False
    return True


def _of_mapping(prefix: str, values: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Trait]]:
    for name, value in values.items():
        yield from _of_value(f"{prefix}{name}", value, depth)


def _of_value(name: str, value: Any, depth: int) -> Iterator[tuple[str, Trait]]:
    match value:
        case bool() | int() | float() | str():
            yield name, value
        case date() | time():
            yield name, value.isoformat()
        case Mapping() if depth < MAX_DEPTH:
            yield from _of_mapping(f"{name}.", value, depth + 1)
        case Sequence() | AbstractSet() if not isinstance(value, bytes | bytearray | memoryview):
            text = _json(value)
            if text is not None:
                yield name, text


def _json(value: Sequence[Any] | AbstractSet[Any]) -> str | None:
    try:
        return json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    match value:
        case date() | time():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case AbstractSet():
            return sorted(value)
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
