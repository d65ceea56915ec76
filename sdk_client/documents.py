"""Reading a flags API's answers: the flags document, the flags of an identity, the environment document.

Whatever a server sends ends as a value or as a DocumentError, never as another exception: also a body that names a
feature twice, or has another type where the type matters. `sdk_client.answers` sees to the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, overload

from sdk_client import versions
from sdk_client.answers import read_json
from sdk_client.errors import DocumentError, shown
from sdk_client.evaluation import Environment
from sdk_client.flags import Flag
from sdk_client.keys import is_client_key

__all__ = [
    "Document",
    "Unchanged",
    "read_client_key",
    "read_environment",
    "read_flags",
    "read_identity",
]

_OK, _NOT_MODIFIED = 200, 304
_ETAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,256}"')
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Document:
    """All flags of an environment, or of an identity, by name, at `version` (0: unknown).

    `labelled` tells that the server vouches for the version; `stale` that it could not reach its own source. `etag` is
    the answer's own, as it is to be sent back, empty where there is none. Only an environment document has a
    `client_key` and an `environment`, which evaluates identities.
    """

    flags: Mapping[str, Flag]
    version: int = 0
    labelled: bool = False
    stale: bool = False
    etag: str = ""
    client_key: str = ""
    environment: Environment | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The server has what the client has (304); the rest as in `Document`."""

    version: int = 0
    labelled: bool = False
    stale: bool = False


@overload
def read_flags(status: int, headers: Mapping[str, str], body: bytes, *, etag: Literal[""] = "") -> Document: ...


@overload
def read_flags(status: int, headers: Mapping[str, str], body: bytes, *, etag: str) -> Document | Unchanged: ...


def read_flags(status: int, headers: Mapping[str, str], body: bytes, *, etag: str = "") -> Document | Unchanged:
    """Return the flags document in an answer; raises DocumentError, and KeyRefusedError on 401 and 403.

    `etag` is what the request carried as ``If-None-Match``: without one, a 304 is an error like any other status.
    """
    if etag and status == _NOT_MODIFIED:
        return _unchanged(headers)
    items = read_json(status, headers, body)
    if not isinstance(items, list):
        raise DocumentError("the flags document is not a list; is api_url a flags API?", status=status)
    version, labelled, stale = _label(headers)
    return Document(_flags(items), version, labelled, stale, _etag(headers))


def read_identity(status: int, headers: Mapping[str, str], body: bytes) -> Document:
    """Return the flags of an identity in an answer; raises as `read_flags` does."""
    match read_json(status, headers, body):
        case {"flags": list(items)}:
            version, labelled, stale = _label(headers)
            return Document(_flags(items), version, labelled, stale)
    raise DocumentError("the identity's document has no list of flags; is api_url a flags API?", status=status)


@overload
def read_environment(status: int, headers: Mapping[str, str], body: bytes, *, etag: Literal[""] = "") -> Document: ...


@overload
def read_environment(status: int, headers: Mapping[str, str], body: bytes, *, etag: str) -> Document | Unchanged: ...


def read_environment(status: int, headers: Mapping[str, str], body: bytes, *, etag: str = "") -> Document | Unchanged:
    """Return the environment document in an answer, its flags evaluated here; raises as `read_flags` does.

    Raises ConfigurationError where the extra ``flagstream[local]`` is missing.
    """
    if etag and status == _NOT_MODIFIED:
        return _unchanged(headers)
    raw = read_json(status, headers, body)
    environment = Environment(raw)
    version, labelled, stale = _label(headers)
    return Document(
        flags=environment.flags(),
        version=version or _updated_at(raw),
        labelled=labelled,
        stale=stale,
        etag=_etag(headers),
        client_key=_client_key(raw),
        environment=environment,
    )


def read_client_key(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return the client key in an environment document, which a server key may read; raises DocumentError."""
    return _client_key(read_json(status, headers, body))


def _flags(items: list[Any]) -> Mapping[str, Flag]:
    flags: dict[str, Flag] = {}
    for item in items:
        match item:
            case {"feature": {"name": str(name)}, "enabled": bool(enabled)}:
                if name in flags:
                    raise DocumentError(f"the flags document holds the feature {shown(name)} twice", status=_OK)
                flags[name] = Flag(name, enabled, item.get("feature_state_value"))
            case _:
                raise DocumentError("the flags document holds something that is no flag", status=_OK)
    return MappingProxyType(flags)


def _client_key(raw: Any) -> str:
    match raw:
        case {"api_key": str(key)} if is_client_key(key):
            return key
    raise DocumentError("the environment document names no api_key; pass client_key", status=_OK)


def _label(headers: Mapping[str, str]) -> tuple[int, bool, bool]:
    label = versions.digits(headers.get("x-flagstream-version", ""))
    updated_at = versions.decimal_seconds(headers.get("x-flagsmith-document-updated-at", ""))
    return label or _possible(updated_at), bool(label), headers.get("x-flagstream-stale") == "1"


def _unchanged(headers: Mapping[str, str]) -> Unchanged:
    return Unchanged(*_label(headers))


def _etag(headers: Mapping[str, str]) -> str:
    etag = headers.get("etag", "")
    return etag if _ETAG.fullmatch(etag) else ""  # what is no entity tag (RFC 9110, 8.8.3) must not be sent back


def _updated_at(raw: Any) -> int:
    match raw:
        case {"updated_at": str(text)}:
            try:
                moment = datetime.fromisoformat(text)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                return _possible((moment - _EPOCH) // timedelta(microseconds=1))
            except (ValueError, OverflowError):
                return 0
    return 0


def _possible(version: int) -> int:
    return version if 0 < version < versions.MAX_VERSION else 0
