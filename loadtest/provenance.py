"""Where results are from: versions, machine, settings, command, moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from flagstream import __version__
from loadtest.machine import described

__all__ = ["provenance"]

PACKAGES: Final = ("uvloop", "httptools", "httpx", "msgspec", "nats-py", "starlette", "uvicorn")
SECRET: Final = ("--token", "--agent-token")


def provenance(command: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader of the figures must know; tokens are left out of the command."""
    return {
        "moment": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(_without_secrets(command)),
        "versions": {"flagstream": __version__, **{name: found for name in PACKAGES if (found := _version(name))}},
        "machine": described(),
        "settings": dict(settings),
    }


def _without_secrets(command: Sequence[str]) -> Iterator[str]:
    hidden = False
    for word in command:
        name, sign, _ = word.partition("=")
        yield "…" if hidden else f"{name}=…" if sign and name in SECRET else word
        hidden = not hidden and word in SECRET


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
