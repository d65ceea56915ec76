"""Flag documents: what SDKs fetch, in the shapes that Flagsmith's published SDKs read.

The version of a document is read before its body, so a body may be newer than its label but never older: whoever is
told of a version and then gets a document labelled with it has that version's flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import values
from publisher.models import KEY_LENGTH, Announcement, Environment, Feature, FeatureState, Project

__all__ = ["SERVER_KEY", "Flags", "environment_document", "identity_document", "read"]

SERVER_KEY = "ser."
"""How keys begin that open the environment document."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Flags:
    """All flags of one environment at one moment; `version` is in microseconds and never newer than the flags."""

    version: int
    environment: Environment
    project: str
    states: Sequence[Any]

    def flags(self) -> list[dict[str, Any]]:
        """Return the document of ``/flags/``."""
        return [
            {
                "id": row.id,
                "feature": _feature(row),
                "feature_state_value": values.for_sdk(row.value),
                "environment": self.environment.id,
                "identity": None,
                "feature_segment": None,
                "enabled": row.enabled,
            }
            for row in self.states
        ]


async def read(session: AsyncSession, key: str) -> Flags | None:
    """Return the flags behind a client or server key, None when there is no such environment."""
    if not key or len(key) > KEY_LENGTH + len(SERVER_KEY) or not key.isascii() or not key.isprintable():
        return None
    query = (
        select(Announcement.version, Environment, Project.name)
        .select_from(Environment)
        .join(Project, Project.id == Environment.project_id)
        .outerjoin(Announcement, Announcement.key == Environment.key)
        .where(or_(Environment.key == key, Environment.server_key == key))
    )
    row = (await session.execute(query)).first()
    if row is None:
        return None
    version, environment, project = row
    states = await session.execute(
        select(
            FeatureState.id,
            FeatureState.uuid,
            FeatureState.enabled,
            FeatureState.value,
            Feature.id.label("feature_id"),
            Feature.name,
            Feature.description,
            Feature.created_at,
            Feature.initial_value,
            Feature.initial_enabled,
        )
        .join(Feature, Feature.id == FeatureState.feature_id)
        .where(FeatureState.environment_id == environment.id)
        .order_by(Feature.id)
    )
    return Flags(version or environment.created_at, environment, project, states.all())


def _feature(row: Any) -> dict[str, Any]:
    return {
        "id": row.feature_id,
        "name": row.name,
        "type": "STANDARD",
        "created_date": _iso(row.created_at),
        "description": row.description or None,
        "initial_value": values.for_sdk(row.initial_value),
        "default_enabled": row.initial_enabled,
    }


def identity_document(flags: Flags, identifier: str, traits: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document of ``/identities/``: the environment's flags, and the traits as they were sent."""
    return {"identifier": identifier, "flags": flags.flags(), "traits": traits}


def environment_document(flags: Flags) -> dict[str, Any]:
    """Return the document of ``/environment-document/``, full enough for every SDK that evaluates locally."""
    environment = flags.environment
    return {
        "id": environment.id,
        "api_key": environment.key,
        "name": environment.name,
        "updated_at": _iso(flags.version),
        "project": {
            "id": environment.project_id,
            "name": flags.project,
            "organisation": {
                "id": 1,
                "name": "flagstream",
                "feature_analytics": False,
                "stop_serving_flags": False,
                "persist_trait_data": True,
            },
            "hide_disabled_flags": False,
            "enable_realtime_updates": True,
            "server_key_only_feature_ids": [],
            "segments": [],
        },
        "feature_states": [
            {
                "feature": {"id": row.feature_id, "name": row.name, "type": "STANDARD"},
                "enabled": row.enabled,
                "feature_state_value": values.for_sdk(row.value),
                "django_id": row.id,
                "featurestate_uuid": row.uuid,
                "feature_segment": None,
                "multivariate_feature_state_values": [],
            }
            for row in flags.states
        ],
        "identity_overrides": [],
        "hide_disabled_flags": None,
        "hide_sensitive_data": False,
        "use_identity_composite_key_for_hashing": True,
        "use_identity_overrides_in_local_eval": True,
        "allow_client_traits": True,
        "amplitude_config": None,
        "dynatrace_config": None,
        "heap_config": None,
        "mixpanel_config": None,
        "rudderstack_config": None,
        "segment_config": None,
        "webhook_config": None,
    }


def _iso(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")
