"""The documents and the event of Flagsmith's API for one environment with one feature, a counter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from publisher.messages import wire_number

__all__ = ["FEATURE", "KEY", "SERVER_KEY", "Change", "environment", "event", "flags", "labels"]

KEY: Final = "side-by-side"
SERVER_KEY: Final = f"ser.{KEY}"
FEATURE: Final = "counter"


@dataclass(frozen=True, slots=True)
class Change:
    """The counter became `number` at `at`, in Unix seconds."""

    number: int
    at: float

    @property
    def version(self) -> int:
        """The same moment in microseconds."""
        return round(self.at * 1e6)


def event(change: Change) -> str:
    """Return the event that announces a change."""
    return f'event: environment_updated\ndata: {{"updated_at": {wire_number(change.version)}}}\n\n'


def labels(change: Change) -> str:
    """Return the headers of a document: its version in both spellings."""
    return (
        f"X-Flagsmith-Document-Updated-At: {wire_number(change.version)}\r\n"
        f'X-Flagstream-Version: {change.version}\r\nETag: "{change.version}"\r\nCache-Control: no-store\r\n'
    )


def flags(change: Change) -> list[dict[str, Any]]:
    """Return the flags document."""
    return [
        {
            "feature": {"id": 1, "name": FEATURE, "type": "STANDARD"},
            "enabled": True,
            "feature_state_value": str(change.number),
        }
    ]


def environment(change: Change) -> dict[str, Any]:
    """Return the environment document, in the fuller form that older SDKs want."""
    return {
        "id": 1,
        "api_key": KEY,
        "name": "side by side",
        "updated_at": datetime.fromtimestamp(change.version // 1_000_000, UTC)
        .replace(microsecond=change.version % 1_000_000)
        .isoformat(),
        "project": {
            "id": 1,
            "name": "side by side",
            "organisation": {
                "id": 1,
                "name": "side by side",
                "feature_analytics": False,
                "stop_serving_flags": False,
                "persist_trait_data": True,
            },
            "hide_disabled_flags": False,
            "segments": [],
        },
        "feature_states": [
            {
                "id": 1,
                "django_id": 1,
                "feature": {"id": 1, "name": FEATURE, "type": "STANDARD"},
                "enabled": True,
                "feature_state_value": str(change.number),
                "featurestate_uuid": "5c1b3b1e-4f0e-4b5e-8a53-6d6f4f2b8a10",
                "multivariate_feature_state_values": [],
            }
        ],
        "identity_overrides": [],
    }
