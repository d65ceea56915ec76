"""What an edge must be able to do, and how it says that it could not; requests that all kinds of edges share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import httpx

__all__ = ["AwayError", "Edge", "PurgeError", "request"]

ATTEMPTS: Final = 2
"""A connection that was kept open may have been closed by the edge just now; then a new one is tried at once."""


class PurgeError(Exception):
    """The edge did not say that it has purged; `reason` is why, `wait` the seconds that it asked to be left alone."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        self.reason = reason
        self.wait = wait
        super().__init__(reason)


class AwayError(PurgeError):
    """Nobody listens at the edge's address: it serves nobody and, with its cache in memory, holds nothing."""


class Edge(Protocol):
    """One thing to purge: at most `batch` names in one call, `lanes` calls at once; `name` is fit for logs."""

    name: str
    batch: int
    lanes: int

    async def purge(self, names: Sequence[str]) -> None:
        """Purge everything that carries one of these surrogate keys; raises `PurgeError`."""

    async def close(self) -> None:
        """Close every connection."""


async def request(client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str]) -> httpx.Response:
    """Send one request without a body. Raises `PurgeError`, or `AwayError` when the connection is refused."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await client.request(method, url, headers=dict(headers))
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if attempt == ATTEMPTS:
                raise PurgeError(f"the connection broke: {type(error).__name__}") from error
        except httpx.ConnectError as error:
            if _is_refused(error):
                raise AwayError("the connection is refused") from error
            raise PurgeError("it cannot be reached") from error
        except httpx.TimeoutException as error:
            raise PurgeError("it does not answer") from error
        except (httpx.HTTPError, OSError) as error:
            raise PurgeError(type(error).__name__) from error
    raise AssertionError("unreachable")


def _is_refused(error: BaseException | None) -> bool:
    """Tell whether every address of the edge refused; the transport wraps what the system said."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return all(_is_refused(each) for each in error.exceptions)
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False
