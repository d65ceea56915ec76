"""Sign-ins of browsers: a signed cookie that names a token, so that any publisher process can check it.

The cookie is ``ID.EXPIRES.SIGNATURE``: the id of a token (0 is the one in the settings), Unix seconds, and an
HMAC-SHA256 (RFC 2104) over both. Its key comes from the token's digest and from a secret in the settings. So a
revoked or changed token ends its sessions, a restart does not, and whoever reads the database alone can forge none.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from publisher import tokens
from publisher.models import Token
from publisher.projects import LARGEST_ID
from publisher.settings import PublisherSettings
from publisher.store import Store

__all__ = ["Sessions", "cookie_name"]

_OF_SETTINGS = 0
_PARTS = 3


def cookie_name(request: Request) -> str:
    """Return the cookie's name here: browsers share cookies between ports, and two stacks may run on one host."""
    name = f"flagstream_session_{request.url.port}" if request.url.port else "flagstream_session"
    # The prefix makes a browser refuse the cookie from anybody else (RFC 6265bis, "The __Host- prefix").
    return f"__Host-{name}" if request.url.scheme == "https" else name


class Sessions:
    """Opens, checks and ends the sessions of one publisher."""

    def __init__(self, store: Store, settings: PublisherSettings) -> None:
        self._store = store
        self._admin_token = settings.admin_token.get_secret_value()
        self._secret = (self._admin_token or settings.sse_token.get_secret_value()).encode()
        self._lifetime = settings.session_lifetime

    async def open(self, token: str) -> str | None:
        """Return the cookie of a new session, None when the token opens nothing."""
        digest = tokens.digest(token)
        if tokens.matches(token, self._admin_token):
            return self._signed(_OF_SETTINGS, digest)
        async with self._store.read() as session:
            query = select(Token.id).where(Token.digest == digest, Token.revoked_at.is_(None))
            found = (await session.execute(query)).scalar_one_or_none()
        return None if found is None else self._signed(found, digest)

    async def actor_of(self, request: Request) -> str | None:
        """Return the name of the token that this browser signed in with, None when it did not."""
        parts = request.cookies.get(cookie_name(request), "").split(".")
        if len(parts) != _PARTS or not all(part.isascii() and part.isdecimal() for part in parts[:2]):
            return None
        # Bounded before `int`: a cookie comes from anybody.
        if len(parts[0]) > len(str(LARGEST_ID)) or len(parts[1]) > 12 or int(parts[1]) <= time.time():  # noqa: PLR2004
            return None
        number = int(parts[0])
        named = await self._token(number)
        if named is None:
            return None
        name, digest = named
        expected = self._signature(number, parts[1], digest)
        return name if hmac.compare_digest(expected.encode(), parts[2].encode("utf-8", "replace")) else None

    async def _token(self, number: int) -> tuple[str, str] | None:
        if number > LARGEST_ID:
            return None
        if number == _OF_SETTINGS:
            return (tokens.SETTINGS_TOKEN, tokens.digest(self._admin_token)) if self._admin_token else None
        async with self._store.read() as session:
            query = select(Token.name, Token.digest).where(Token.id == number, Token.revoked_at.is_(None))
            row = (await session.execute(query)).one_or_none()
        return None if row is None else (row.name, row.digest)

    def _signed(self, number: int, digest: str) -> str:
        expires = str(int(time.time() + self._lifetime) + 1)
        return f"{number}.{expires}.{self._signature(number, expires, digest)}"

    def _signature(self, number: int, expires: str, digest: str) -> str:
        key = hmac.digest(self._secret, b"flagstream dashboard session\0" + digest.encode(), hashlib.sha256)
        return hmac.new(key, f"{number}.{expires}".encode(), hashlib.sha256).hexdigest()

    def give(self, request: Request, response: Response, cookie: str) -> None:
        """Set the cookie: not readable by scripts, not sent along from other sites."""
        response.set_cookie(
            cookie_name(request),
            cookie,
            max_age=int(self._lifetime) + 1,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    @staticmethod
    def take(request: Request, response: Response) -> None:
        """Delete the cookie."""
        response.delete_cookie(
            cookie_name(request), httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
