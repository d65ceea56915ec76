from __future__ import annotations

import json

import pytest

from sdk_client import DocumentError, Flag, KeyRefusedError
from sdk_client.documents import read_client_key, read_flags
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
    ],
)
def test_what_is_no_document_is_an_error_that_says_what_came(status: int, body: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason) as caught:
        read_flags(status, {"retry-after": "7"}, body)
    assert caught.value.status == status
    assert caught.value.retry_after == (7.0 if status != 200 else 0.0)
    assert not isinstance(caught.value, KeyRefusedError)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_an_error_of_its_own(status: int) -> None:
    with pytest.raises(KeyRefusedError, match="refused the environment key"):
        read_flags(status, {}, b"{}")


def test_the_client_key_is_read_from_the_environment_document() -> None:
    assert read_client_key(200, {}, json.dumps({"api_key": "k", "name": "dev"}).encode()) == "k"
    for body in (b"{}", b"[]", b'{"api_key": ""}', b'{"api_key": 1}'):
        with pytest.raises(DocumentError, match="names no api_key; pass client_key"):
            read_client_key(200, {}, body)
