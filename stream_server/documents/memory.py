"""The first layer: documents in this process's memory, the least recently used leave first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from stream_server.documents.answers import Rendered
from stream_server.documents.document import Document, DocumentKey

__all__ = ["Entry", "Memory"]

_OVERHEAD: Final = 2048
"""Bytes that an entry costs beside its body: keys, headers, Python objects."""


@dataclass(slots=True)
class Entry:
    """A document in memory. `checked` is the monotonic time of its last confirmation, None when it has had none."""

    document: Document
    rendered: Rendered
    checked: float | None


class Memory:
    """Documents by key, at most `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[DocumentKey, Entry] = OrderedDict()
        self.size = 0
        """Bytes held now."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: DocumentKey) -> Entry | None:
        """Return the entry of `key` and count it as used."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: DocumentKey, document: Document, checked: float | None) -> Entry:
        """Keep `document` unless a newer one is held; return the entry that holds from now on."""
        held = self._entries.get(key)
        if held is not None:
            if held.document.age_order > document.age_order:
                return held
            if held.document == document:
                held.checked = checked if held.checked is None else max(held.checked, checked or 0.0)
                return held
            self.drop(key)
        entry = Entry(document, Rendered(document, kept=key.path != "identities"), checked)
        self.size += _cost(document)
        self._entries[key] = entry
        while self.size > self._limit:
            _, oldest = self._entries.popitem(last=False)
            self.size -= _cost(oldest.document)
        return entry

    def drop(self, key: DocumentKey) -> bool:
        """Forget the document of `key`; tell whether there was one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.size -= _cost(entry.document)
        return True

    def of_environment_key(self, environment_key: str) -> list[DocumentKey]:
        """Return the keys of every document that was asked for with `environment_key`."""
        return [key for key in self._entries if key.environment_key == environment_key]


def _cost(document: Document) -> int:
    return len(document.body) + _OVERHEAD
