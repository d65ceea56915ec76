"""What every message has: a name, by which it is known on the wire."""

from __future__ import annotations

import msgspec

__all__ = ["Message"]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """What all have: their name."""
