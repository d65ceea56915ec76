"""Local evaluation: an environment document and Flagsmith's own flag engine give an identity's flags without a request.

The engine (``flagsmith-flag-engine``, BSD) is the extra ``flagstream[local]`` and imported at the first use. What it is
given, its evaluation context, is made here from the environment document as Flagsmith's servers send it to
server keys. Two things differ from Flagsmith's Python SDK. An identity's overrides are looked up by its identifier
instead of being tried one after the other, so 10,000 of them cost nothing. And a segment that cannot be evaluated (a
regular expression that is none, a modulo by 0) matches nobody and is logged once, instead of failing every identity.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from sdk_client.context import Json, features_of, overrides_of, segments_of
from sdk_client.errors import ConfigurationError, DocumentError, shown
from sdk_client.flags import Flag, Flags, Source
from sdk_client.traits import check_identifier, check_traits

__all__ = ["Environment", "require_engine"]

_log = logging.getLogger("sdk_client")

_ALWAYS: Final = [{"type": "ALL", "conditions": []}]
"""Rules that everybody meets."""

_OWN: Final = "identity override"


@cache
def require_engine() -> Callable[[Any], Any]:
    """Return the engine's evaluation; raises ConfigurationError where the extra is not installed."""
    try:
        from flag_engine.engine import get_evaluation_result  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        hint = "needs the flag engine: pip install 'flagstream[local]'"
        raise ConfigurationError("local_evaluation", hint) from error
    return get_evaluation_result


class Environment:
    """One environment document, ready to be evaluated as often as there are identities; never changes.

    Raises DocumentError for a document that is none, and ConfigurationError without the engine.
    """

    def __init__(self, raw: Any) -> None:
        self._evaluate = require_engine()
        self._faulty: set[str] = set()
        match raw:
            case {
                "api_key": str(key),
                "name": str(name),
                "feature_states": list(states),
                "project": {"segments": list(segments)},
            }:
                self._environment = {"key": key, "name": name}
                self._features = features_of(states)
                self._segments = segments_of(segments)
                self._overrides = overrides_of(raw)
            case _:
                problem = "lacks api_key, name, feature_states or project.segments; is api_url a flags API?"
                raise DocumentError(f"the environment document {problem}", status=200)
        context = {"environment": self._environment, "features": self._features}
        try:
            self._flags = MappingProxyType(_read(self._evaluate(context)))
        except Exception as error:  # the engine runs on whatever the document says
            raise DocumentError(f"the environment document cannot be evaluated: {error!r}", status=200) from error

    def flags(self) -> Mapping[str, Flag]:
        """Return the environment's own flags: segments and percentages are for identities alone."""
        return self._flags

    def identity(self, identifier: str, traits: Mapping[str, Any] | None, *, version: int, source: Source) -> Flags:
        """Return the flags of an identity; `version` and `source` are the document's and become the flags' own.

        Raises ConfigurationError for an identifier or a trait that cannot be one, nothing else: should the engine
        fail, they are the environment's flags, and `Flags.source` says so.
        """
        identity = {"identifier": check_identifier(identifier), "traits": check_traits(traits)}
        segments = self._segments
        if overrides := self._overrides.get(identifier):
            own: Json = {"key": "", "name": _OWN, "rules": _ALWAYS, "overrides": overrides}
            segments = {**segments, _OWN: own}
        context = {"environment": self._environment, "features": self._features, "identity": identity}
        try:
            return Flags(_read(self._evaluate({**context, "segments": segments})), version, source)
        except Exception:  # noqa: BLE001 - the engine runs on whatever the document says
            segments = self._sound(segments, {**context, "features": {}})
        try:
            return Flags(_read(self._evaluate({**context, "segments": segments})), version, source)
        except Exception as error:  # noqa: BLE001 - the engine runs on whatever the document says
            self._tell("", f"identities cannot be evaluated: {error!r}; they get the environment's flags")
            return Flags(self._flags, version, Source.ENVIRONMENT)

    def _sound(self, segments: Mapping[str, Json], context: Json) -> dict[str, Json]:
        sound = {}
        for key, segment in segments.items():
            try:
                self._evaluate({**context, "segments": {key: segment}})
            except Exception as error:  # noqa: BLE001 - the engine runs on whatever the document says
                problem = f"the segment {shown(segment['name'])} cannot be evaluated: {error!r}; it matches nobody"
                self._tell(key, problem)
            else:
                sound[key] = segment
        return sound

    def _tell(self, key: str, problem: str) -> None:
        if key not in self._faulty:
            self._faulty.add(key)
            _log.warning("%s", problem)


def _read(result: Any) -> dict[str, Flag]:
    return {name: Flag(name, flag["enabled"], flag["value"]) for name, flag in result["flags"].items()}
