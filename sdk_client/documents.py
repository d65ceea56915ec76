"""Flags, and reading them from the flags document: ``GET /api/v1/flags/``, as Flagsmith's SDKs know it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sdk_client import versions
from sdk_client.errors import DocumentError, KeyRefusedError
from sdk_client.flags import Flag
from sdk_client.headers import retry_after

__all__ = ["Document", "Flag", "read_client_key", "read_flags"]

_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class Document:
    """All flags of an environment by name, at `version` (0: unknown).

    `labelled` tells that the server vouches for the version; `stale` that it could not reach its own source.
    """

    flags: Mapping[str, Flag]
    version: int = 0
    labelled: bool = False
    stale: bool = False


def read_flags(status: int, headers: Mapping[str, str], body: bytes) -> Document:
    """Return the document in an answer; raises DocumentError, and KeyRefusedError on 401 and 403."""
    items = _read_json(status, headers, body)
    if not isinstance(items, list):
        raise DocumentError("the flags document is not a list; is api_url a flags API?", status=status)
    flags: dict[str, Flag] = {}
    for item in items:
        match item:
            case {"feature": {"name": str(name)}, "enabled": bool(enabled)}:
                flags[name] = Flag(name, enabled, item.get("feature_state_value"))
            case _:
                raise DocumentError("the flags document holds something that is no flag", status=status)
    label = versions.digits(headers.get("x-flagstream-version", ""))
    updated_at = versions.decimal_seconds(headers.get("x-flagsmith-document-updated-at", ""))
    return Document(
        flags=MappingProxyType(flags),
        version=label or updated_at,
        labelled=bool(label),
        stale=headers.get("x-flagstream-stale") == "1",
    )


def read_client_key(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return the client key in an environment document, which a server key may read; raises DocumentError."""
    match _read_json(status, headers, body):
        case {"api_key": str(key)} if key:
            return key
    raise DocumentError("the environment document names no api_key; pass client_key", status=status)


def _read_json(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    if status in _REFUSED:
        raise KeyRefusedError(f"the server refused the environment key ({status})", status=status)
    if status != 200:  # noqa: PLR2004 - no other status carries a document
        hint = "; is api_url right?" if status in (301, 302, 307, 308, 404) else ""
        raise DocumentError(f"the server answered {status}{hint}", status=status, retry_after=retry_after(headers))
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise DocumentError("the answer is not JSON", status=status) from None
