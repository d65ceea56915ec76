"""Bearer tokens of the management API. Only SHA-256 digests are stored, so the database opens nothing.

The token in the settings always works and is called ``admin`` in the change log; it makes the others.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import names
from publisher.errors import DuplicateError, NotFoundError
from publisher.messages import wire_seconds
from publisher.models import Token as TokenRow
from publisher.projects import LARGEST_ID
from publisher.store import Transaction, Where

__all__ = ["SETTINGS_TOKEN", "NewToken", "Token", "actor_of", "create", "listed", "matches", "revoke"]

SETTINGS_TOKEN = "admin"  # noqa: S105 - the name of a token, not one
"""What the change log calls the token of the settings."""

_PREFIX = "fst_"  # lets scanners of leaked secrets recognise one


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without its secret. Times are Unix seconds."""

    id: int
    name: str
    created_at: float
    revoked_at: float | None


class NewToken(Token, frozen=True, kw_only=True):
    """A token just made: the only moment at which its secret can be read."""

    token: str


def digest(token: str) -> str:
    """Return what is stored of a token. It is 256 random bits, so a plain digest is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def matches(given: str, secret: str) -> bool:
    """Compare in constant time; an empty secret matches nothing."""
    return bool(secret) and hmac.compare_digest(digest(given), digest(secret))


async def actor_of(session: AsyncSession, token: str) -> str | None:
    """Return the name of a token in the database, None when it is unknown or revoked."""
    wanted = digest(token)
    query = select(TokenRow.name, TokenRow.digest).where(TokenRow.digest == wanted, TokenRow.revoked_at.is_(None))
    row = (await session.execute(query)).one_or_none()
    return row.name if row is not None and hmac.compare_digest(row.digest, wanted) else None


async def listed(session: AsyncSession, *, after: int = 0, limit: int = 100) -> list[Token]:
    """Return tokens in the order they were made, revoked ones included: the change log names them."""
    query = select(TokenRow).where(TokenRow.id > after).order_by(TokenRow.id).limit(limit)
    return [
        Token(
            id=row.id,
            name=row.name,
            created_at=wire_seconds(row.created_at),
            revoked_at=None if row.revoked_at is None else wire_seconds(row.revoked_at),
        )
        for row in (await session.execute(query)).scalars()
    ]


async def create(change: Transaction, name: str) -> NewToken:
    """Make a token; raises `InvalidError` and `DuplicateError`. A revoked token keeps its name."""
    names.checked(name)
    taken = await change.session.execute(select(TokenRow.id).where(TokenRow.name == name))
    if name == SETTINGS_TOKEN or taken.first():
        raise _duplicate(name)
    token = f"{_PREFIX}{secrets.token_urlsafe(32)}"
    try:
        created = await change.session.execute(
            insert(TokenRow).values(name=name, digest=digest(token), created_at=change.at).returning(TokenRow.id)
        )
    except IntegrityError:
        raise _duplicate(name) from None
    await change.log("token.created", Where(), after={"name": name})
    return NewToken(
        id=created.scalar_one(), name=name, created_at=wire_seconds(change.at), revoked_at=None, token=token
    )


async def revoke(change: Transaction, token: int) -> None:
    """Make a token useless from now on; revoking it twice is no error. Raises `NotFoundError`."""
    query = select(TokenRow.name, TokenRow.revoked_at).where(TokenRow.id == token).with_for_update()
    row = (await change.session.execute(query)).one_or_none() if 0 < token <= LARGEST_ID else None
    if row is None:
        raise NotFoundError("token", str(token))
    if row.revoked_at is None:
        await change.session.execute(update(TokenRow).where(TokenRow.id == token).values(revoked_at=change.at))
        await change.log("token.revoked", Where(), before={"name": row.name})


def _duplicate(name: str) -> DuplicateError:
    return DuplicateError("name", f"there is or was a token {name!r}; choose another name")
