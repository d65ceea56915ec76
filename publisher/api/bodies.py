"""Reading JSON bodies: bounded in size and depth, strict, and with a sentence for everything that is wrong."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from publisher.api.problems import MalformedError, MediaTypeError, TooLargeError
from publisher.errors import Fault, InvalidError

__all__ = ["Body", "checked", "parse", "read"]

_INTEGER_DIGITS = 400
"""More digits than any double has; a longer integer is not worth the time it takes to read."""

M = TypeVar("M", bound="Body")


class Body(BaseModel):
    """A request's body: unknown fields are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


async def read(request: Request, limit: int, *, any_type: bool = False) -> bytes:
    """Return the whole body; raises `TooLargeError` as soon as it is above `limit`, declared or not."""
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not any_type and declared and declared != "application/json" and not declared.endswith("+json"):
        raise MediaTypeError(f"the body is declared as {declared[:80]}; send Content-Type: application/json")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 20 or int(length) > limit):  # noqa: PLR2004 - digits of 2^64
        raise TooLargeError(limit)
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLargeError(limit)
        parts.append(part)
    return b"".join(parts)


def parse(raw: bytes) -> Any:
    """Return the JSON value in `raw`; raises `MalformedError` with line and column (RFC 8259, RFC 7493)."""
    if not raw.strip():
        raise MalformedError("the body is empty; send a JSON object")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"the body is not UTF-8 (byte {error.start + 1})") from None
    try:
        return json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer, object_pairs_hook=_unique
        )
    except json.JSONDecodeError as error:
        fault = error.msg.removesuffix(" at")
        raise MalformedError(f"the body is not JSON: {fault} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise MalformedError("the body is nested too deep") from None


def _no_constant(name: str) -> Any:
    raise MalformedError(f"the body is not JSON: {name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedError(f"the number {_short(text)} is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > _INTEGER_DIGITS:
        raise MalformedError(f"the number {_short(text)} is too large")
    return int(text)


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:30]}…"  # noqa: PLR2004 - enough to find it


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise MalformedError(f"the name {_short(twice)!r} is in one object twice")
    return found


def checked(model: type[M], content: Any, *, what: str = "the body") -> M:
    """Return `content` as `model`; raises `InvalidError` with every fault."""
    if not isinstance(content, dict):
        raise InvalidError(Fault("body", f"{what} must be a JSON object"))
    try:
        return model.model_validate(content)
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        raise InvalidError(*(_fault(each, known) for each in error.errors(include_url=False))) from None


_EXPECTED = {
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "int_parsing": "must be an integer",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_unicode": "must not contain half of a surrogate pair",
}


def _fault(error: Any, known: str) -> Fault:
    field = ".".join(str(part) for part in error["loc"])
    field = field.encode("utf-8", "replace").decode()[:120]
    return Fault(field or "body", _message(error, known))


def _message(error: Any, known: str) -> str:
    context = error.get("ctx", {})
    message: str
    match error["type"]:
        case "extra_forbidden":
            message = f"is not known here; known are {known}" if known else "is not known here"
        case "missing":
            message = "must be given"
        case "value_error":
            message = str(context["error"])
        case "greater_than_equal":
            message = f"must be at least {context['ge']}"
        case "less_than_equal":
            message = f"must be at most {context['le']}"
        case "literal_error":
            message = f"must be {context['expected']}"
        case kind:
            message = _EXPECTED.get(kind, str(error["msg"]))
    return message
