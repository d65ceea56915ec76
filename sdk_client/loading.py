"""Fetching documents with httpx: bounded in time and size, whatever the server does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from ssl import SSLContext
from typing import Final

import httpx

from sdk_client.addresses import Addresses
from sdk_client.documents import (
    Document,
    Unchanged,
    read_client_key,
    read_environment,
    read_flags,
    read_identity,
)
from sdk_client.errors import DocumentError
from sdk_client.threads import in_thread
from sdk_client.traits import IdentityRequest

__all__ = ["Loaded", "Loader", "http_client", "reason_of"]

MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes of one document; a body without end would otherwise fill the memory."""

LARGE_BODY: Final = 512 * 1024
"""Bytes above which a document is read in a thread."""

MAX_REDIRECTS: Final = 5

# Eight identities at a time must leave room for a fetch, a stream and its next one, or a server that is slow with
# identities would make the flags stale. All may stay open: httpcore counts those in use among the idle ones, and with a
# lower limit opens a connection for each identity of a crowd.
_LIMITS: Final = httpx.Limits(max_connections=12, max_keepalive_connections=12, keepalive_expiry=60.0)


@cache
def _ssl_context() -> SSLContext:
    return httpx.create_ssl_context()  # tens of milliseconds and a megabyte: once a process, not once a client


async def http_client() -> httpx.AsyncClient:
    """Return a client for one `FlagClient`; connections stay open between changes, which may be minutes apart."""
    return httpx.AsyncClient(
        verify=await in_thread(_ssl_context),  # reading the authorities would block the user's event loop
        headers={"User-Agent": "flagstream-python"},
        limits=_LIMITS,
        max_redirects=MAX_REDIRECTS,
    )


def reason_of(error: Exception) -> str:
    """Return an I/O failure in words, without the URL (it holds the environment key)."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a fetch brought, read; and `body`, as it came, to be kept on disk."""

    answer: Document | Unchanged
    body: bytes


class Loader:
    """Fetches one environment's documents; `timeout` bounds a whole fetch, in seconds.

    `local` asks for the environment document, from which flags are worked out here, instead of the flags.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        addresses: Addresses,
        key: str,
        *,
        timeout: float = 5.0,
        local: bool = False,
    ) -> None:
        self._http = http
        self._addresses = addresses
        self._local = local
        self._headers = {"X-Environment-Key": key, "Accept": "application/json"}
        self._timeout = timeout
        # httpcore leaks the socket of a TLS handshake that is cancelled, so its own limit has to be the first to pass.
        self._limits = httpx.Timeout(None, connect=timeout / 2)

    async def load(self, version: int, etag: str = "") -> Loaded:
        """Return the flags at `version` or newer, where the server can (0: whatever it has); raises DocumentError.

        With the `etag` of a document the server may answer that it is `Unchanged`.
        """
        url = self._addresses.environment_document if self._local else self._addresses.flags
        headers = {"If-None-Match": etag} if etag else {}
        status, answer_headers, body = await self._ask("GET", f"{url}?v={version}" if version else url, headers)
        read = partial(read_environment if self._local else read_flags, status, answer_headers, body, etag=etag)
        # A document of ten thousand identities takes 0.3 s to read, in which nothing else would run.
        return Loaded(await in_thread(read) if len(body) > LARGE_BODY else read(), body)

    async def client_key(self) -> str:
        """Return the client key that belongs to a server key; raises DocumentError."""
        return read_client_key(*await self._ask("GET", self._addresses.environment_document, {}))

    async def identity(self, request: IdentityRequest, version: int) -> Document:
        """Return an identity's flags at `version` or newer, where the server can; raises DocumentError."""
        url = f"{self._addresses.api}{request.path}"
        headers = {"Content-Type": "application/json"}
        return read_identity(*await self._ask("POST", f"{url}?v={version}" if version else url, headers, request.body))

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream(
                    method,
                    url,
                    headers={**self._headers, **headers},
                    content=content,
                    timeout=self._limits,
                    follow_redirects=False,
                ) as answer,
            ):
                return answer.status_code, answer.headers, await _body_of(answer)
        except DocumentError:
            raise
        except TimeoutError:
            raise DocumentError(f"no answer within {self._timeout:g} s") from None
        except Exception as error:  # not httpx's errors alone, as with streams
            raise DocumentError(f"cannot reach the flags API: {reason_of(error)}") from error


async def _body_of(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > MAX_BODY:
            raise DocumentError(f"the document is larger than {MAX_BODY} bytes", status=answer.status_code)
    return bytes(body)
