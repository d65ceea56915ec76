from __future__ import annotations

import builtins
import copy
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from flagsmith import Flagsmith
from flagsmith.offline_handlers import OfflineHandler
from hypothesis import given, settings
from hypothesis import strategies as st

import sdk_client
from sdk_client.errors import ConfigurationError, DocumentError
from sdk_client.evaluation import Environment, require_engine
from sdk_client.flags import Flag, Flags, Source
from tests.sdk_client.environments import environment_document, people

SMALLEST = {
    "api_key": "env-key",
    "name": "dev",
    "project": {"segments": []},
    "feature_states": [
        {"feature": {"id": 1, "name": "f"}, "enabled": True, "featurestate_uuid": str(uuid.UUID(int=1))}
    ],
}


class _Offline(OfflineHandler):
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def get_environment(self) -> Any:
        return self._document


def published(document: dict[str, Any]) -> Flagsmith:
    """Return Flagsmith's own SDK, evaluating the same document."""
    return Flagsmith(offline_mode=True, offline_handler=_Offline(document))


def answers(flags: Any) -> dict[str, tuple[bool, Any]]:
    return {flag.feature_name: (flag.enabled, flag.value) for flag in flags.all_flags()}


def ours(flags: Any) -> dict[str, tuple[bool, Any]]:
    return {flag.name: (flag.enabled, flag.value) for flag in flags.values()}


def identity(environment: Environment, identifier: str, traits: dict[str, Any] | None = None) -> Flags:
    return environment.identity(identifier, traits, version=7, source=Source.SERVER)


@pytest.mark.parametrize("seed", range(5))
def test_200_identities_get_the_flags_that_the_published_sdk_gives_them(seed: int) -> None:
    document = environment_document(seed)
    reference, environment = published(copy.deepcopy(document)), Environment(document)
    assert ours(environment.flags()) == answers(reference.get_environment_flags())
    different = set()
    for identifier, traits in people(seed, 200):
        expected = answers(reference.get_identity_flags(identifier, traits))
        mine = identity(environment, identifier, traits)
        assert ours(mine) == expected
        assert [type(flag.value) for flag in mine.values()] == [type(expected[name][1]) for name in mine]
        different.add(json.dumps(expected, sort_keys=True))
    assert len(different) > 50, "the identities are too alike to prove anything"


def test_environment_flags_come_in_the_order_of_the_document_and_know_no_percentages() -> None:
    document = environment_document(1)
    flags = Environment(document).flags()
    assert list(flags) == [state["feature"]["name"] for state in document["feature_states"]]
    assert [flag.value for flag in flags.values()] == [
        state["feature_state_value"] for state in document["feature_states"]
    ]


def test_the_smallest_document_is_enough() -> None:
    assert Environment(SMALLEST).flags() == {"f": Flag("f", enabled=True, value=None)}
    flags = identity(Environment(SMALLEST), "somebody")
    assert dict(flags) == {"f": Flag("f", enabled=True, value=None)}
    assert (flags.version, flags.source) == (7, Source.SERVER)


@pytest.mark.parametrize("identifier", ["somebody", "007", "1.50", "-3", "a,b", '["x"]', "ü"])
def test_an_identity_s_own_state_wins_whatever_its_identifier_looks_like(identifier: str) -> None:
    document = copy.deepcopy(SMALLEST)
    segment_state = {**SMALLEST["feature_states"][0], "feature_state_value": "s", "feature_segment": {"priority": -9}}  # type: ignore[index]
    document["project"] = {
        "segments": [{"id": 1, "name": "all", "rules": [{"type": "ALL"}], "feature_states": [segment_state]}]
    }
    own = {**SMALLEST["feature_states"][0], "enabled": False, "feature_state_value": "own"}  # type: ignore[index]
    document["identity_overrides"] = [{"identifier": identifier, "identity_features": [own]}]
    environment = Environment(document)
    assert identity(environment, identifier)["f"] == Flag("f", enabled=False, value="own")
    assert identity(environment, f"{identifier}!")["f"] == Flag("f", enabled=True, value="s")


FAULTY = [
    ({"property_": "plan", "operator": "REGEX", "value": "("}, "a regular expression that is none"),
    ({"property_": "age", "operator": "MODULO", "value": "0|1"}, "a modulo by zero"),
    ({"property_": "plan", "operator": "IN", "value": None}, "no list to be in"),
    ({"property_": "plan", "operator": "IN", "value": {}}, "an object to be in"),
    ({"property_": "plan", "operator": "PERCENTAGE_SPLIT", "value": []}, "a percentage that is none"),
]


@pytest.mark.parametrize("condition", [case[0] for case in FAULTY], ids=[case[1] for case in FAULTY])
def test_a_segment_that_cannot_be_evaluated_matches_nobody_and_is_told_once(
    condition: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    state = SMALLEST["feature_states"][0]  # type: ignore[index]
    document = copy.deepcopy(SMALLEST)
    document["feature_states"] = [state, {**state, "feature": {"name": "g"}}]
    document["project"] = {
        "segments": [
            {
                "id": number,
                "name": name,
                "rules": [{"type": "ALL", "conditions": [tested]}],
                "feature_states": [{**state, "feature": {"name": feature}, "feature_state_value": name}],
            }
            for number, name, tested, feature in (
                (1, "broken", condition, "f"),
                (2, "good", {"property_": "plan", "operator": "EQUAL", "value": "free"}, "g"),
            )
        ]
    }
    environment = Environment(document)
    for _ in range(3):
        flags = identity(environment, "somebody", {"plan": "free", "age": 3})
        assert (flags.value("f"), flags.value("g"), flags.source) == (None, "good", Source.SERVER)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the segment 'broken' cannot be evaluated: ")


def test_should_the_engine_fail_on_the_environment_itself_the_document_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: dict[str, Any]) -> Any:
        raise ArithmeticError("engine")

    monkeypatch.setattr("sdk_client.evaluation.require_engine", lambda: fails)
    with pytest.raises(DocumentError, match="cannot be evaluated: ArithmeticError"):
        Environment(SMALLEST)


def test_should_the_engine_fail_altogether_identities_get_the_environment_s_flags(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environment = Environment(SMALLEST)
    evaluate = environment._evaluate

    def fails(context: dict[str, Any]) -> Any:
        if "identity" in context:
            raise ArithmeticError("engine")
        return evaluate(context)

    environment._evaluate = fails
    for _ in range(3):
        flags = identity(environment, "somebody")
        assert dict(flags) == environment.flags()
        assert flags.source is Source.ENVIRONMENT
    assert len(caplog.messages) == 1
    assert "they get the environment's flags" in caplog.messages[0]


@pytest.mark.parametrize(
    ("identifier", "traits", "named"),
    [("", None, "identifier"), ("x", {"plan": []}, "the trait 'plan'"), ("x", ["plan"], "traits")],
)
def test_a_wrong_identity_is_an_error_that_names_what_is_wrong(identifier: str, traits: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        identity(Environment(SMALLEST), identifier, traits)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("flag_engine"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest, **more)

    require_engine.cache_clear()
    monkeypatch.setattr(builtins, "__import__", missing)
    try:
        with pytest.raises(ConfigurationError, match=r"local_evaluation needs .* pip install 'flagstream\[local\]'"):
            Environment(SMALLEST)
    finally:
        monkeypatch.undo()
        require_engine.cache_clear()


def test_the_engine_is_imported_when_it_is_used_and_not_before() -> None:
    code = (
        "import sys, sdk_client.evaluation as e\n"
        "assert 'flag_engine' not in sys.modules\n"
        f"e.Environment({SMALLEST!r})\n"
        "assert 'flag_engine' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(sdk_client.__file__).parent.parent)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    found = [path] if path else []
    for key in inner:
        if isinstance(value[key], dict | list):
            found += places(value[key], (*path, key))
        else:
            found.append((*path, key))
    return found


DOCUMENT = environment_document(3, features=3, segments=2, overrides=2)
PLACES = places(DOCUMENT)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_with_anything_anywhere_a_document_is_refused_or_evaluates(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = copy.deepcopy(DOCUMENT)
    for path, value in changes:
        target: Any = document
        try:
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # another change has taken that place away
    try:
        environment = Environment(document)
        flags = environment.flags()
    except DocumentError:
        return
    for identifier, traits in people(1, 3):
        assert list(identity(environment, identifier, traits)) == list(flags)
