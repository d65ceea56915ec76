"""What a name may be, so that it can stand in a path, a log line, a page and both databases."""

from __future__ import annotations

import unicodedata

from publisher.errors import Fault, InvalidError
from publisher.messages import is_key
from publisher.models import KEY_LENGTH, NAME_LENGTH

__all__ = ["DESCRIPTION_LENGTH", "checked", "checked_key", "is_feature_name", "text_fault"]

DESCRIPTION_LENGTH = 2000
_REFUSED = {"Cc", "Zl", "Zp"}


def text_fault(text: str, *, longest: int, lines: bool = False) -> str | None:
    """Say what is wrong with `text`, None if nothing; `lines` allows line breaks and tabs."""
    if len(text) > longest:
        return f"must be at most {longest} characters; it has {len(text)}"
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            return "must not contain half of a surrogate pair"
        if category in _REFUSED and not (lines and character in "\n\r\t"):
            return f"must not contain the control character U+{ord(character):04X}"
    return None


def _name_fault(name: str, *, in_path: bool) -> str | None:
    if not name:
        return "must not be empty"
    if fault := text_fault(name, longest=NAME_LENGTH):
        return fault
    if name != name.strip():
        return "must not begin or end with a space"
    if in_path and ("/" in name or name in {".", ".."}):
        return "must not contain '/' or be '.' or '..', because it is a part of URLs"
    return None


def checked(name: str, *, field: str = "name", in_path: bool = False) -> str:
    """Return `name`, or raise `InvalidError`: 1 to 100 characters, no control characters, no space at the ends."""
    if fault := _name_fault(name, in_path=in_path):
        raise InvalidError(Fault(field, fault))
    return name


def is_feature_name(name: str) -> bool:
    """Tell whether a feature can have this name; a look-up of any other need not ask the database."""
    return _name_fault(name, in_path=True) is None


def checked_key(key: str) -> str:
    """Return `key`, or raise `InvalidError` naming the field."""
    if not is_key(key):
        found = (
            "it has a dot"
            if "." in key
            else f"it has {len(key)} characters"
            if len(key) > KEY_LENGTH
            else "it has others"
        )
        raise InvalidError(Fault("key", f"must be 1 to {KEY_LENGTH} letters, digits, '-' or '_'; {found}"))
    return key
