"""A Varnish node: ``PURGE /`` with the surrogate key in a header, which its VCL turns into a ban."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx

from publisher.purging.edge import PurgeError, request

__all__ = ["VarnishEdge"]

LANES: Final = 8


class VarnishEdge:
    """The node at `url` (``http://HOST:PORT``); `timeout` bounds a purge, in seconds."""

    batch = 1
    lanes = LANES

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self.name = f"varnish {host}:{parts.port}" if parts.port else f"varnish {host}"
        self._url = url.rstrip("/") + "/"
        self._client = httpx.AsyncClient(
            timeout=timeout,
            limits=httpx.Limits(max_connections=LANES, keepalive_expiry=2),  # below Varnish's timeout_idle of 5 s
            verify=url.startswith("https:"),
            trust_env=False,  # a proxy for the outside world has no business between us and our edge
        )

    async def purge(self, names: Sequence[str]) -> None:
        """Ban what carries one of `names`; raises `PurgeError`, `AwayError` when nobody listens."""
        for name in names:
            answer = await request(self._client, "PURGE", self._url, {"Surrogate-Key": name})
            if not answer.is_success:
                hint = ", it does not let this address purge" if answer.status_code == httpx.codes.FORBIDDEN else ""
                raise PurgeError(f"it answers {answer.status_code}{hint}")

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
