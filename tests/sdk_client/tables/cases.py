"""The tables of this folder as values: what bytes of an event stream become. The JavaScript client reads the same."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdk_client.decoder import Comment, Event, Item, Retry

FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """`capability` is that of the contract tests, empty where every client has to pass; ids are None where not told."""

    name: str
    source: str
    pieces: tuple[bytes, ...]
    items: tuple[Item, ...]
    capability: str = ""
    start_id: str = ""
    last_event_id: str | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def __str__(self) -> str:
        return self.name


def load(table: str) -> list[Case]:
    """Return the cases of ``tables/<table>.json``."""
    return [_case(case) for case in json.loads((FOLDER / f"{table}.json").read_text())["cases"]]


def _case(case: dict[str, Any]) -> Case:
    return Case(
        name=case["name"],
        source=case.get("source", ""),
        pieces=_pieces(case),
        items=tuple(map(_item, case["expect"])),
        capability=case.get("capability", ""),
        start_id=case.get("start_id", ""),
        last_event_id=case.get("last_event_id"),
    )


def _pieces(case: dict[str, Any]) -> tuple[bytes, ...]:
    if "base64" in case:
        texts = case["base64"]
        return tuple(map(b64decode, [texts] if isinstance(texts, str) else texts))
    return tuple(text.encode() for text in case.get("chunks") or [case["body"]])


def _item(item: dict[str, Any]) -> Item:
    if "retry" in item:
        return Retry(item["retry"])
    if "comment" in item:
        return Comment(item["comment"])
    return Event(item["event"], item["data"], item["id"])
