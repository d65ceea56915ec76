"""Stands in until documents are served."""

from __future__ import annotations

from typing import Any


class Documents:
    """No documents."""

    def __init__(self, *_: Any) -> None:
        return

    def saved_versions(self) -> dict[str, int]:
        """Return nothing."""
        return {}

    def routes(self) -> list[Any]:
        """Return nothing."""
        return []

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""
