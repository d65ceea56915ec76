"""Flag documents: what SDKs fetch, in the shapes that Flagsmith's published SDKs read.

The version of a document is read with its body in one statement, which sees one committed state: whoever is told of a
version and then gets a document labelled with it has that version's flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Column, Select, Table, bindparam, select

from publisher import values
from publisher.database import Database
from publisher.models import KEY_LENGTH, Announcement, Environment, Feature, FeatureState, Project

__all__ = ["SERVER_KEY", "Flags", "environment_document", "identity_document", "read"]

SERVER_KEY = "ser."
"""How keys begin that open the environment document."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Flags:
    """All flags of one environment at one moment; `version` is in microseconds. `environment` is the client key."""

    version: int
    environment_id: int
    environment: str
    name: str
    project_id: int
    project: str
    states: Sequence[Any]

    def flags(self) -> list[dict[str, Any]]:
        """Return the document of ``/flags/``."""
        return [
            {
                "id": row.id,
                "feature": _feature(row),
                "feature_state_value": values.for_sdk(row.value),
                "environment": self.environment_id,
                "identity": None,
                "feature_segment": None,
                "enabled": row.enabled,
            }
            for row in self.states
        ]


_STATES, _FEATURES, _ENVIRONMENTS, _PROJECTS, _ANNOUNCEMENTS = (
    cast("Table", of.__table__) for of in (FeatureState, Feature, Environment, Project, Announcement)
)


def _select(key: Column[str]) -> Select[*tuple[Any, ...]]:
    """Return a row for each state of the environment whose `key` is asked for, or one without a state."""
    states = _STATES.join(_FEATURES, _FEATURES.c.id == _STATES.c.feature_id)
    return (
        select(
            _ANNOUNCEMENTS.c.version,
            _ENVIRONMENTS.c.id.label("environment_id"),
            _ENVIRONMENTS.c.key,
            _ENVIRONMENTS.c.name.label("environment"),
            _ENVIRONMENTS.c.created_at.label("begun_at"),
            _ENVIRONMENTS.c.project_id,
            _PROJECTS.c.name.label("project"),
            _STATES.c.id,
            _STATES.c.uuid,
            _STATES.c.enabled,
            _STATES.c.value,
            _FEATURES.c.id.label("feature_id"),
            _FEATURES.c.name,
            _FEATURES.c.description,
            _FEATURES.c.created_at,
            _FEATURES.c.initial_value,
            _FEATURES.c.initial_enabled,
        )
        .select_from(_ENVIRONMENTS)
        .join(_PROJECTS, _PROJECTS.c.id == _ENVIRONMENTS.c.project_id)
        .outerjoin(_ANNOUNCEMENTS, _ANNOUNCEMENTS.c.key == _ENVIRONMENTS.c.key)
        .outerjoin(states, _STATES.c.environment_id == _ENVIRONMENTS.c.id)
        .where(key == bindparam("asked"))
        .order_by(_FEATURES.c.id)
    )


# Made once: building a statement takes longer than a database needs to run it.
_BY_CLIENT_KEY, _BY_SERVER_KEY = _select(_ENVIRONMENTS.c.key), _select(_ENVIRONMENTS.c.server_key)


async def read(database: Database, key: str) -> Flags | None:
    """Return the flags behind a client or server key, None when there is no such environment."""
    if not key or len(key) > KEY_LENGTH + len(SERVER_KEY) or not key.isascii() or not key.isprintable():
        return None
    statement = _BY_SERVER_KEY if key.startswith(SERVER_KEY) else _BY_CLIENT_KEY
    async with database.one_statement() as connection:
        rows = (await connection.execute(statement, {"asked": key})).all()
    if not rows:
        return None
    first = rows[0]
    return Flags(
        version=first.version or first.begun_at,
        environment_id=first.environment_id,
        environment=first.key,
        name=first.environment,
        project_id=first.project_id,
        project=first.project,
        states=rows if first.id is not None else (),
    )


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
    return {
        "id": flags.environment_id,
        "api_key": flags.environment,
        "name": flags.name,
        "updated_at": _iso(flags.version),
        "project": {
            "id": flags.project_id,
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
