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
    """A document in memory. `checked` is the monotonic time of its last confirmation, None when it has had none.

    `served` is whether any client was given it since it was fetched.
    """

    document: Document
    rendered: Rendered
    checked: float | None
    served: bool = False


class _Index:
    """Which documents belong to a key: an environment has few, the memory many."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[DocumentKey, None]] = {}

    def of(self, name: str) -> list[DocumentKey]:
        return list(self._keys.get(name, ()))

    def add(self, name: str, key: DocumentKey) -> None:
        self._keys.setdefault(name, {})[key] = None

    def remove(self, name: str, key: DocumentKey) -> None:
        keys = self._keys[name]
        del keys[key]
        if not keys:
            del self._keys[name]


class Memory:
    """Documents by key, at most `limit` bytes of them; `named` is whether an edge may purge their answers by name."""

    def __init__(self, limit: int, *, named: bool = False) -> None:
        self._limit = limit
        self._named = named
        self._entries: OrderedDict[DocumentKey, Entry] = OrderedDict()
        self._by_environment_key = _Index()
        self._by_environment = _Index()
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

    def peek(self, key: DocumentKey) -> Entry | None:
        """Return the entry of `key` without counting that as use."""
        return self._entries.get(key)

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
        purged_by = document.environment if self._named and not key.is_personal else ""
        entry = Entry(document, Rendered(document, kept=not key.is_personal, purged_by=purged_by), checked)
        self.size += _cost(key, document)
        self._entries[key] = entry
        self._by_environment_key.add(key.environment_key, key)
        self._by_environment.add(document.environment, key)
        while self.size > self._limit:
            self.drop(next(iter(self._entries)))
        return entry

    def drop(self, key: DocumentKey) -> bool:
        """Forget the document of `key`; tell whether there was one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.size -= _cost(key, entry.document)
        self._by_environment_key.remove(key.environment_key, key)
        self._by_environment.remove(entry.document.environment, key)
        return True

    def of_environment_key(self, environment_key: str) -> list[DocumentKey]:
        """Return the keys of every document that was asked for with `environment_key`."""
        return self._by_environment_key.of(environment_key)

    def of_environment(self, environment: str) -> list[DocumentKey]:
        """Return the keys of every document of the environment with that client-side key."""
        return self._by_environment.of(environment)


def _cost(key: DocumentKey, document: Document) -> int:
    return len(document.body) + len(key.query) + _OVERHEAD
