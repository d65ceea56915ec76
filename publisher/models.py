"""The tables. Times and versions are integer microseconds since the epoch; flag values are JSON text.

`Announcement` is outbox and register in one: a row for every environment key ever announced, foreign ones included,
with its newest version and the newest version the broker has acknowledged. A row whose `version` is above
`announced` is waiting. Only the newest version of an environment means anything, so a burst of changes costs one
announcement, and nothing has to be cleaned up.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "Announcement",
    "Base",
    "Change",
    "Environment",
    "Evaluation",
    "Feature",
    "FeatureState",
    "Project",
    "Token",
]

NAME_LENGTH = 100
KEY_LENGTH = 128


class Base(DeclarativeBase):
    """Holds the metadata; constraints are named so that migrations can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Project(Base):
    """A set of features and the environments that they have states in."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(default=1)


class Environment(Base):
    """Where apps run: has a client key (public, in every app) and a server key (secret, begins ``ser.``)."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    key: Mapped[str] = mapped_column(String(KEY_LENGTH), unique=True)
    server_key: Mapped[str] = mapped_column(String(KEY_LENGTH + 4), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(default=1)


class Feature(Base):
    """A flag of a project; its initial state is what a new environment starts with."""

    __tablename__ = "features"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str] = mapped_column(Text, default="")
    initial_enabled: Mapped[bool] = mapped_column(default=False)
    initial_value: Mapped[str] = mapped_column(Text, default="null")
    created_at: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(default=1)


class FeatureState(Base):
    """A feature in one environment: on or off, and a value."""

    __tablename__ = "feature_states"
    __table_args__ = (UniqueConstraint("environment_id", "feature_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id", ondelete="CASCADE"))
    feature_id: Mapped[int] = mapped_column(ForeignKey("features.id", ondelete="CASCADE"), index=True)
    uuid: Mapped[str] = mapped_column(String(36))
    enabled: Mapped[bool]
    value: Mapped[str] = mapped_column(Text)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(default=1)


class Announcement(Base):
    """The newest version of one environment key, and how far the broker has it. See the module's docstring.

    A relay claims a whole environment (`claimed_by` until `claimed_until`, seconds by the database's clock). Claims
    only save work: two relays that announce one environment at once do no harm.
    """

    __tablename__ = "announcements"
    __table_args__ = (
        # What waits is few among many: an index of just those keeps a relay's look cheap at a million environments.
        Index(
            "ix_announcements_waiting",
            "key",
            sqlite_where=text("version > announced"),
            postgresql_where=text("version > announced"),
        ),
    )

    key: Mapped[str] = mapped_column(String(KEY_LENGTH), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    announced: Mapped[int] = mapped_column(BigInteger, default=0)
    claimed_by: Mapped[str | None] = mapped_column(String(36))
    claimed_until: Mapped[float | None] = mapped_column(Float(53))


class Change(Base):
    """One line of the change log. It names things by what they were called then, so it outlives them."""

    __tablename__ = "changes"
    __table_args__ = (Index("ix_changes_environment_key_version", "environment_key", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    actor: Mapped[str] = mapped_column(String(NAME_LENGTH))
    action: Mapped[str] = mapped_column(String(40))
    project: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    environment: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    environment_key: Mapped[str | None] = mapped_column(String(KEY_LENGTH))
    feature: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    before: Mapped[Any | None] = mapped_column(JSON)
    after: Mapped[Any | None] = mapped_column(JSON)
    version: Mapped[int | None] = mapped_column(BigInteger)
    pushed_at: Mapped[int | None] = mapped_column(BigInteger)


class Token(Base):
    """A bearer token of the management API; only its SHA-256 digest is kept."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class Evaluation(Base):
    """How often apps evaluated a feature on one day (UTC, ``2026-11-21``), as their SDKs report it."""

    __tablename__ = "evaluations"

    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True)
    feature: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)
