from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdk_client.answers import MAX_DEPTH
from sdk_client.documents import (
    Document,
    Unchanged,
    read_client_key,
    read_environment,
    read_flags,
    read_identity,
)
from sdk_client.errors import DocumentError, KeyRefusedError
from sdk_client.flags import Flag, Source
from tests.sdk_client.environments import environment_document
from tests.sdk_client.scripted import V1, document

BODY = document({"banner": (True, "a"), "limit": (False, None)})


def test_flags_are_read_by_name() -> None:
    flags = read_flags(200, {}, BODY).flags
    assert flags == {
        "banner": Flag("banner", enabled=True, value="a"),
        "limit": Flag("limit", enabled=False, value=None),
    }
    with pytest.raises(TypeError):
        flags["banner"] = flags["limit"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("headers", "version", "labelled", "stale"),
    [
        ({}, 0, False, False),
        ({"x-flagstream-version": str(V1)}, V1, True, False),
        ({"x-flagstream-version": str(V1), "x-flagsmith-document-updated-at": "1.5"}, V1, True, False),
        ({"x-flagsmith-document-updated-at": "1733480514.079725"}, 1733480514079725, False, False),
        ({"x-flagsmith-document-updated-at": "1733480514"}, 1733480514000000, False, False),
        ({"x-flagsmith-document-updated-at": "9999999999"}, 0, False, False),
        ({"x-flagstream-version": "soon", "x-flagsmith-document-updated-at": "never"}, 0, False, False),
        ({"x-flagstream-version": str(V1), "x-flagstream-stale": "1"}, V1, True, True),
    ],
)
def test_the_version_is_the_servers_own_word_exactly(
    headers: dict[str, str], version: int, labelled: bool, stale: bool
) -> None:
    read = read_flags(200, headers, BODY)
    assert (read.version, read.labelled, read.stale) == (version, labelled, stale)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"", "the server answered 500"),
        (404, b"{}", "answered 404; is api_url right"),
        (301, b"", "answered 301; is api_url right"),
        (204, b"", "answered 204"),
        (200, b"", "is not JSON"),
        (200, b"\xff", "is not JSON"),
        (200, b"[" * 100_000, "is not JSON"),
        (200, b"{}", "is not a list; is api_url a flags API"),
        (200, b"[1]", "something that is no flag"),
        (200, b'[{"feature": {"name": 1}, "enabled": true}]', "something that is no flag"),
        (200, b'[{"feature": {"name": "f"}, "enabled": "yes"}]', "something that is no flag"),
        (200, b'[{"feature": {"name": "f"}, "enabled": 1}]', "something that is no flag"),
        (200, b'[{"feature": [], "enabled": true}]', "something that is no flag"),
        (200, "[]".encode("utf-16"), "is not JSON"),
        (200, b'["\\ud800"]', "is not JSON"),
        (200, b"[NaN]", "is not JSON"),
        (200, b"[-Infinity]", "is not JSON"),
        (200, b"[1e999]", "is not JSON"),
        (200, b"[" + b"9" * 5000 + b"]", "is not JSON"),
        (200, b"[] []", "is not JSON"),
        (200, b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested too deeply"),
        (200, b'[{"a":' * 40 + b"1" + b"}]" * 40, "nested too deeply"),
        (200, document({"twice": (True, 1)})[:-1] + b"," + document({"twice": (True, 1)})[1:], "'twice' twice"),
        (304, b"", "answered 304"),
    ],
)
def test_what_is_no_document_is_an_error_that_says_what_came(status: int, body: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason) as caught:
        read_flags(status, {"retry-after": "7"}, body)
    assert caught.value.status == status
    assert caught.value.retry_after == (7.0 if status != 200 else 0.0)
    assert not isinstance(caught.value, KeyRefusedError)


ONE = b'[{"feature": {"name": "f"}, "enabled": true, "feature_state_value": %s}]'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud800"', "\\ud800"),
        (b"1.5", 1.5),
        (b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2), ...),
        (b'{"a": [1, null]}', {"a": [1, None]}),
    ],
    ids=["a whole pair", "no escape", "float", "just not too deep", "json"],
)
def test_odd_but_sound_values_are_kept(text: bytes, value: Any) -> None:
    read = read_flags(200, {}, b"\xef\xbb\xbf" + ONE % text).flags["f"].value
    assert read == (json.loads(text) if value is ... else value)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('"abc"', '"abc"'),
        ('W/"abc"', 'W/"abc"'),
        ('""', '""'),
        ("abc", ""),
        ('"a"b"', ""),
        ('"ä"', ""),
        ('"a\r\nX: y"', ""),
        (f'"{"x" * 300}"', ""),
    ],
)
def test_only_what_is_an_entity_tag_is_kept_to_be_sent_back(sent: str, kept: str) -> None:
    assert read_flags(200, {"etag": sent}, BODY).etag == kept
    assert read_flags(200, {}, BODY).etag == ""


@pytest.mark.parametrize("read", [read_flags, read_environment])
def test_a_304_to_a_request_with_an_etag_is_no_news_with_a_version(read: Callable[..., Document | Unchanged]) -> None:
    headers = {"x-flagstream-version": str(V1), "x-flagstream-stale": "1"}
    assert read(304, headers, b"", etag='"a"') == Unchanged(V1, labelled=True, stale=True)
    assert read(304, {}, b"", etag='"a"') == Unchanged()
    with pytest.raises(DocumentError, match="answered 304"):
        read(304, headers, b"")


def test_an_identity_s_flags_are_read_with_their_version() -> None:
    body = b'{"identifier": "u", "flags": ' + BODY + b', "traits": []}'
    read = read_identity(200, {"x-flagstream-version": str(V1)}, body)
    assert (read.flags, read.version, read.labelled) == (read_flags(200, {}, BODY).flags, V1, True)
    for other in (BODY, b"{}", b'{"flags": {}}'):
        with pytest.raises(DocumentError, match="no list of flags; is api_url"):
            read_identity(200, {}, other)


def test_an_environment_document_brings_flags_the_client_key_and_what_evaluates_identities() -> None:
    content = environment_document(1)
    read = read_environment(200, {"x-flagstream-version": str(V1), "etag": '"a"'}, json.dumps(content).encode())
    assert (read.version, read.labelled, read.etag, read.client_key) == (V1, True, '"a"', "env-key")
    assert list(read.flags) == [state["feature"]["name"] for state in content["feature_states"]]
    assert read.environment is not None
    assert len(read.environment.identity("u", {}, version=V1, source=Source.SERVER)) == len(read.flags)


@pytest.mark.parametrize(
    ("updated_at", "version"),
    [
        ("2024-12-26T16:18:08.760123+00:00", 1_735_229_888_760_123),
        ("2024-12-26T16:18:08.760123Z", 1_735_229_888_760_123),
        ("2024-12-26T16:18:08.760123", 1_735_229_888_760_123),
        ("2024-12-26T18:18:08.760123+02:00", 1_735_229_888_760_123),
        ("1900-01-01", 0),
        ("9999-12-31T23:59:59", 0),
        ("yesterday", 0),
        ("0001-01-01T00:00:00+23:59", 0),
        (5, 0),
        (None, 0),
    ],
)
def test_without_headers_an_environment_is_as_new_as_it_says(updated_at: Any, version: int) -> None:
    content = {**environment_document(1, features=1, segments=0), "updated_at": updated_at}
    read = read_environment(200, {}, json.dumps(content).encode())
    assert (read.version, read.labelled) == (version, False)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_an_error_of_its_own(status: int) -> None:
    with pytest.raises(KeyRefusedError, match="refused the environment key"):
        read_flags(status, {}, b"{}")


def test_the_client_key_is_read_from_the_environment_document() -> None:
    assert read_client_key(200, {}, json.dumps({"api_key": "k", "name": "dev"}).encode()) == "k"
    for body in (b"{}", b"[]", b'{"api_key": ""}', b'{"api_key": 1}', b'{"api_key": "../x"}'):
        with pytest.raises(DocumentError, match="names no api_key; pass client_key"):
            read_client_key(200, {}, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FEATURE = st.fixed_dictionaries(
    {
        "feature": st.fixed_dictionaries({"name": JSON | st.sampled_from(["f", "g"])}) | JSON,
        "enabled": st.booleans() | JSON,
    },
    optional={"feature_state_value": JSON},
)
CONTENTS = st.one_of(
    JSON,
    st.lists(FEATURE, max_size=3),
    st.fixed_dictionaries({"flags": st.lists(FEATURE, max_size=3) | JSON}),
    st.fixed_dictionaries(
        {
            "api_key": st.just("key") | JSON,
            "name": st.just("dev") | JSON,
            "feature_states": st.lists(FEATURE, max_size=3) | JSON,
            "project": st.fixed_dictionaries({"segments": st.lists(JSON, max_size=2)}) | JSON,
        },
        optional={"updated_at": JSON, "identity_overrides": JSON},
    ),
)
BODIES = st.one_of(
    st.binary(max_size=50),
    CONTENTS.map(lambda content: json.dumps(content).encode()),
    CONTENTS.map(lambda content: json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.integers(1, 5000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(1, 5000).map(lambda depth: b'{"flags":' * depth + b"1" + b"}" * depth),
    st.integers(1, 6000).map(lambda length: ONE % (b"1" * length)),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["x-flagstream-version", "x-flagsmith-document-updated-at", "x-flagstream-stale", "etag", "retry-after"]
    ),
    st.text(max_size=30) | st.from_regex(r"[0-9.]{1,40}", fullmatch=True),
)


@settings(max_examples=250, deadline=None)
@given(status=st.sampled_from([200, 200, 200, 200, 304, 401, 500]), headers=HEADERS, body=BODIES)
@example(status=200, headers={}, body=b'[{"feature": {"name": "f"}, "enabled": true, "enabled": 3}]')
@example(status=200, headers={}, body=b'{"api_key": "' + b"x" * 100_000 + b'"}')
def test_whatever_a_server_answers_there_is_a_document_or_the_one_error(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    for read in (read_flags, read_identity, read_environment):
        try:
            document = read(status, headers, body)
        except DocumentError:
            continue
        assert all(flag.name == name and flag.enabled in (True, False) for name, flag in document.flags.items())
        repr(document.flags)
        json.dumps([flag.value for flag in document.flags.values()], allow_nan=False, ensure_ascii=False).encode()
        assert 0 <= document.version < 2**53
    with contextlib.suppress(DocumentError):
        assert read_client_key(status, headers, body).isascii()
