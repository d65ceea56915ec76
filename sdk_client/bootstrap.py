"""Flags that a program brings along, for the time before the server's are there, and for tests."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sdk_client.cache import FORMAT, read_whole
from sdk_client.errors import ConfigurationError, shown
from sdk_client.flags import Flag

__all__ = ["Bootstrap", "read_bootstrap"]

Bootstrap = Mapping[str, Any] | Sequence[Any] | str | os.PathLike[str]

MAX_TOLD: Final = 20
"""Faults that one error names; a file of another kind may have thousands."""

MAX_NAME: Final = 200
"""Characters of a feature's name that an error shows."""


class _Fault(Exception):  # noqa: N818 - one of many that become one error
    """What is wrong with one feature."""


def read_bootstrap(source: Bootstrap) -> Mapping[str, Flag]:
    """Return the flags in `source` by name; raises ConfigurationError that names every fault.

    `source` is one of these, or the path of a JSON file (16 MiB at most) that holds one:

    - ``{"banner": True, "limit": 10, "x": {"enabled": False, "value": 3}}``: true and false are a state, with no
      value; other text and numbers are a value, and the feature is on; a dict has either or both (``enabled`` is true
      unless it says otherwise); a `Flag` stands for itself.
    - the list of ``GET /api/v1/flags/``
    - an environment document: the environment's own states, without its segments and identities
    - the file of `DiskCache`, of any environment
    """
    if isinstance(source, str | os.PathLike):
        source = _read_file(source)
    match _body(source):
        case {"feature_states": list(states)}:
            return _collect(_states(states))
        case Mapping() as simple:
            return _collect((_quoted(name), name, state) for name, state in simple.items())
        case [*states]:  # no text and no bytes, which are sequences as well
            return _collect(_states(states))
    raise ConfigurationError("bootstrap", f"must be a dict, a list or a path, not {_kind(source)}")


def _body(source: Any) -> Any:
    match source:
        case {"format": int(known), "kind": str(), "environment": str(), "body": body} if not _is_simple(body):
            if known != FORMAT:
                raise ConfigurationError("bootstrap", f"is a cache file of format {known}, not {FORMAT}")
            return body
    return source


def _is_simple(body: Any) -> bool:
    return not isinstance(body, list) and not (isinstance(body, Mapping) and "feature_states" in body)


def _states(items: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    for place, item in enumerate(items):
        match item:
            case {"feature": {"name": str(name)}}:
                yield _quoted(name), name, {"enabled": item.get("enabled"), "value": item.get("feature_state_value")}
            case _:
                yield f"[{place}]", None, item


def _collect(found: Iterable[tuple[str, Any, Any]]) -> Mapping[str, Flag]:
    flags: dict[str, Flag] = {}
    faults: list[str] = []
    for place, name, state in found:
        if name is None:
            faults.append(f"{place} is no feature: {shown(state)}")
        elif name in flags:
            faults.append(f"{place} is there twice")
        else:
            try:
                flags[name] = _flag(name, state)
            except _Fault as fault:
                faults.append(f"{place} {fault}")
    if faults:
        more = f"; and {len(faults) - MAX_TOLD} more" if len(faults) > MAX_TOLD else ""
        raise ConfigurationError("bootstrap", f"cannot be read: {'; '.join(faults[:MAX_TOLD])}{more}")
    return MappingProxyType(flags)


def _flag(name: Any, state: Any) -> Flag:
    if not isinstance(name, str) or not name:
        raise _Fault("is no name of a feature")
    match state:
        case bool():
            return Flag(name, enabled=state, value=None)
        case str() | int() | float():
            return Flag(name, enabled=True, value=_value(state))
        case Flag():
            if state.name != name:
                raise _Fault(f"is a Flag of another name, {shown(state.name)}")
            return Flag(name, state.enabled, _value(state.value))
        case Mapping() if state and state.keys() <= {"enabled", "value"}:
            enabled = state.get("enabled", True)
            if not isinstance(enabled, bool):
                raise _Fault(f"has enabled = {shown(enabled)}, which is neither true nor false")
            return Flag(name, enabled, _value(state.get("value")))
        case Mapping():
            raise _Fault(f'has {shown(list(state))}, where "enabled" and "value" are known')
        case None:
            raise _Fault("is null, which is neither a state nor a value")
        case _:
            raise _Fault(f'is {_kind(state)}; write {{"value": …}} for a value that is none of text, number, boolean')


def _value(value: Any) -> Any:
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    try:
        return json.loads(json.dumps(value, allow_nan=False))  # a copy: what the program changes later is not ours
    except (TypeError, ValueError, RecursionError):
        raise _Fault(f"has a value that JSON does not know: {shown(value)}") from None


def _read_file(path: str | os.PathLike[str]) -> Any:
    try:
        content = json.loads(read_whole(Path(path)))
        if isinstance(content, dict | list):
            return content
        reason = f"it holds {_kind(content)}, neither an object nor a list"
    except OSError as error:
        reason = error.strerror or str(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except json.JSONDecodeError as error:
        reason = f"it is not JSON (line {error.lineno}, column {error.colno}: {error.msg})"
    except UnicodeError:
        reason = "it is not JSON (nor text)"
    except ValueError as error:
        reason = str(error)
    raise ConfigurationError("bootstrap", f"cannot be read from {os.fspath(path)}: {reason}")


def _quoted(name: Any) -> str:
    return repr(name[:MAX_NAME]) if isinstance(name, str) else shown(name)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
