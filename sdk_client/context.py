"""Reading an environment document into the flag engine's evaluation context.

The document is what Flagsmith's servers send to server keys; the context is the engine's own notion
(``flag_engine.context.types``): features by name, segments by id, each segment with its rules and overrides. Raises
DocumentError for whatever does not fit. The engine is not needed for it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any, Final

from sdk_client.errors import DocumentError, shown

__all__ = ["Json", "features_of", "overrides_of", "segments_of"]

Json = dict[str, Any]

_FIRST: Final = -math.inf
"""Priority of an identity's own overrides; the lowest wins."""

_LARGEST: Final = 2**53
"""Numbers up to this are exact as doubles, in which the engine reckons."""


def features_of(states: list[Any]) -> dict[str, Json]:
    """Return the environment's own feature states by name, in their order."""
    features: dict[str, Json] = {}
    for feature in map(_feature, states):
        if features.setdefault(feature["name"], feature) is not feature:
            raise _fault(f"holds the feature {shown(feature['name'])} twice")
    return features


def _feature(state: Any) -> Json:
    match state:
        case {"feature": {"name": str(name)}, "enabled": bool(enabled)}:
            pass
        case _:
            raise _fault("holds something that is no feature state")
    key = state.get("django_id") or state.get("featurestate_uuid") or ""
    feature: Json = {"key": str(key), "name": name, "enabled": enabled, "value": state.get("feature_state_value")}
    if variants := list(_variants(_list(state.get("multivariate_feature_state_values")))):
        if not key:
            raise _fault(f"gives the feature {shown(name)} percentages, but no id to share out by")
        feature["variants"] = variants
    match state.get("feature_segment"):
        case None:
            pass
        case {"priority": int() | float() as priority} if abs(priority) <= _LARGEST:
            feature["priority"] = priority
        case _:
            raise _fault(f"gives the feature {shown(name)} a feature_segment without a priority")
    return feature


def _variants(values: list[Any]) -> Iterator[Json]:
    for value in values:
        match value:
            case {
                "multivariate_feature_option": {"value": option},
                "percentage_allocation": int() | float() as weight,
            } if abs(weight) <= _LARGEST:
                yield {"value": option, "weight": weight, "priority": _order(value)}
            case _:
                raise _fault("holds something that is no multivariate value")


def _order(value: Json) -> int:
    match value.get("id"), value.get("mv_fs_value_uuid"):
        case int(number), _ if number:
            return number
        case _, str(text):
            try:
                return uuid.UUID(text).int
            except ValueError:
                pass
    raise _fault("holds a multivariate value without an id")


def segments_of(segments: list[Any]) -> dict[str, Json]:
    """Return the segments by id, in their order."""
    return dict(_segment(segment) for segment in segments)


def _segment(segment: Any) -> tuple[str, Json]:
    match segment:
        case {"id": int() | str() as key, "name": str(name), "rules": list(rules)}:
            overrides = [_feature(state) for state in _list(segment.get("feature_states"))]
            return str(key), {
                "key": str(key),
                "name": name,
                "rules": [_rule(rule) for rule in rules],
                "overrides": overrides,
            }
    raise _fault("holds something that is no segment")


def _rule(rule: Any) -> Json:
    match rule:
        case {"type": "ALL" | "ANY" | "NONE" as kind}:
            return {
                "type": kind,
                "conditions": [_condition(condition) for condition in _list(rule.get("conditions"))],
                "rules": [_rule(inner) for inner in _list(rule.get("rules"))],
            }
    raise _fault("holds something that is no rule of a segment")


def _condition(condition: Any) -> Json:
    match condition:
        case {"operator": str(operator)}:
            prop = condition.get("property_") or ""
            if isinstance(prop, str):
                return {"property": prop, "operator": operator, "value": condition.get("value")}
    raise _fault("holds something that is no condition of a segment")


def overrides_of(raw: Json) -> dict[str, list[Json]]:
    """Return the feature states that single identities have, by identifier."""
    overrides: dict[str, list[Json]] = {}
    for identity in _list(raw.get("identity_overrides")):
        match identity:
            case {"identifier": str(identifier), "identity_features": list(states)}:
                features = [{**_feature(state), "priority": _FIRST} for state in states]
                for feature in features:
                    feature.pop("variants", None)  # an identity has a value of its own, not a share of several
                overrides.setdefault(identifier, []).extend(features)
            case _:
                raise _fault("holds something that is no identity override")
    return overrides


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise _fault("has something else where a list belongs")


def _fault(problem: str) -> DocumentError:
    return DocumentError(f"the environment document {problem}", status=200)
