"""Reading the JSON in an answer: a value that is safe to keep, to show and to write down, or a DocumentError.

Refused are other statuses than 200, bodies that are not UTF-8 or not JSON by RFC 8259 (NaN, numbers that no double
holds), half a surrogate pair, and what is nested beyond all need.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Never

from sdk_client.errors import DocumentError, KeyRefusedError
from sdk_client.headers import retry_after

__all__ = ["read_json"]

MAX_DEPTH: Final = 64
"""Lists and objects within each other; far beyond it Python's own recursion limit ends whoever looks at a value."""

_OK: Final = 200
_REFUSED: Final = (401, 403)
_MOVED: Final = (301, 302, 307, 308, 404)


def read_json(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return what an answer holds; raises DocumentError, and KeyRefusedError on 401 and 403."""
    if status in _REFUSED:
        raise KeyRefusedError(f"the server refused the environment key ({status})", status=status)
    if status != _OK:
        hint = "; is api_url right?" if status in _MOVED else ""
        raise DocumentError(f"the server answered {status}{hint}", status=status, retry_after=retry_after(headers))
    try:
        text = body.decode("utf-8-sig")
        content = json.loads(text, parse_float=_finite, parse_constant=_refuse)
        if "\\ud" in text or "\\uD" in text:
            # Half of a surrogate pair would pass here and fail later, where flags are written, hashed or shown.
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise DocumentError("the answer is not JSON", status=status) from None
    _check_depth(content)
    return content


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _parts(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise DocumentError("the document is nested too deeply", status=_OK)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is beyond what a double holds")
    return number


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
