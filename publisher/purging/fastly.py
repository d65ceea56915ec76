"""A Fastly service, purged by surrogate key through Fastly's API.

Facts from Fastly's documentation (developer.fastly.com, "Purging" in the API reference and in the guide to caching, and
"Rate limiting" in the API reference): ``POST /service/ID/purge/KEY`` purges one key, ``POST /service/ID/purge`` up to
256 that the header ``Surrogate-Key`` lists; the token goes in ``Fastly-Key``. A purge reaches the whole network in
about 150 ms, and behind a shield a second one about 2 s later is advised. Purges by key are not in the limit of 1,000
changing requests an hour, but customers are held to some 100,000 purges an hour. Above a limit the answer is 429, and
``Fastly-RateLimit-Reset`` says when the window ends, in seconds since the epoch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from publisher.purging.edge import PurgeError

__all__ = ["FastlyEdge"]

BATCH: Final = 256
LANES: Final = 4

SPREAD: Final = 0.2
"""Seconds after an answer in which the purge reaches every node; an announcement before would meet old documents."""

LONGEST_WAIT: Final = 60.0
"""Seconds that we let ourselves be put off: clocks differ, and limits are raised."""

LARGEST: Final = 65536
"""Bytes of an answer; one for 256 keys has some 15,000."""


class FastlyEdge:
    """The service with the id `service`; `timeout` bounds a purge, in seconds."""

    batch = BATCH
    lanes = LANES

    def __init__(self, url: str, service: str, token: str, timeout: float) -> None:
        self.name = f"fastly {service}"
        self._path = f"{url.rstrip('/')}/service/{service}/purge"
        self._client = httpx.AsyncClient(
            timeout=timeout,
            limits=httpx.Limits(max_connections=LANES),
            verify=url.startswith("https:"),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one that is set anew each time piles up
            headers={"Fastly-Key": token, "Accept": "application/json", "User-Agent": "flagstream-publisher"},
        )

    async def purge(self, names: Sequence[str]) -> None:
        """Purge these surrogate keys and wait until all nodes have heard of it; raises `PurgeError`."""
        if len(names) == 1:
            answer = await self._post(f"{self._path}/{names[0]}", {})
        else:
            answer = await self._post(self._path, {"Surrogate-Key": " ".join(names)})
        if not answer.is_success:
            raise PurgeError(*_why(answer))
        await asyncio.sleep(SPREAD)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _post(self, url: str, headers: dict[str, str]) -> httpx.Response:
        try:
            try:
                return await self._send(url, headers)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # A connection that was kept open may just have been closed at the other end; now a new one is made.
                return await self._send(url, headers)
        except httpx.TimeoutException as error:
            raise PurgeError("its API does not answer") from error
        except (httpx.HTTPError, OSError) as error:
            raise PurgeError(f"its API cannot be reached: {type(error).__name__}") from error

    async def _send(self, url: str, headers: dict[str, str]) -> httpx.Response:
        """Return the head of the answer; the body says no more, and is read so that the connection can be kept."""
        async with self._client.stream("POST", url, headers=headers) as answer:
            length = 0
            async for part in answer.aiter_raw():  # as sent: unpacked it may be a thousand times as long
                length += len(part)
                if length > LARGEST:
                    raise PurgeError("what its API answers is too long")
            return answer


def _why(answer: httpx.Response) -> tuple[str, float]:
    """Return what a refusal means, and the seconds to wait."""
    status = answer.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return "429, the limit of Fastly's API is reached", _pause(answer.headers)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return f"{status}, fastly_token is not good for purging this service", 0.0
    if status == httpx.codes.NOT_FOUND:
        return "404, fastly_service is no service of this token", 0.0
    return f"its API answers {status}", _pause(answer.headers)


def _pause(headers: httpx.Headers) -> float:
    reset, after = headers.get("Fastly-RateLimit-Reset", ""), headers.get("Retry-After", "")
    seconds = 0.0
    if reset.isdecimal():
        seconds = float(reset) - time.time()  # `int` refuses some 4,300 digits, and what is too large for a float
    elif after.isdecimal():
        seconds = float(after)
    return min(max(seconds, 0.0), LONGEST_WAIT)
