"""The last layer: the API that documents come from, our publisher or a Flagsmith API.

One attempt a call and no retries: who asks again, and when, is the cache's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn, Protocol

import httpx
import msgspec

from flagstream.logs import get_logger
from publisher.messages import is_key, is_too_far_ahead
from stream_server.documents.answers import Problem

__all__ = ["Answer", "RefusedError", "Timer", "UnavailableError", "Upstream"]

log = get_logger(__name__)

PASSED_THROUGH: Final = frozenset({400, 401, 403, 404, 405, 413, 415, 422})
"""Statuses that are the upstream's word about the request itself; all others but 200 are failures of its own."""

OF_THE_API: Final = frozenset({401, 403, 404, 405})
"""Statuses that proxies in between give as well: the upstream's own word only with a JSON object."""

CONNECTIONS: Final = 128
FOR_ANYBODY: Final = 64
"""Connections that requests with made-up keys, identifiers and features can take at most; the others stay free."""

_HIGHEST_VERSION: Final = 2**53


class UnavailableError(Exception):
    """The upstream gave nothing usable: not reached, too slow, 5xx, or no JSON."""


class RefusedError(Exception):
    """The upstream refuses the request: `problem` is its answer for the client."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Timer(Protocol):
    """Takes the seconds that a request took."""

    def observe(self, amount: float) -> None:
        """Take one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A document as it came. `version` is what the upstream says it is of, in microseconds, 0 where it does not.

    `labelled` means that it is a Flagstream version, exact; otherwise the number may lag behind what was announced.
    `environment` is the client-side key as far as the answer tells.
    """

    body: bytes
    version: int
    labelled: bool
    environment: str


class Upstream:
    """A client of `url`; `timeout` (seconds) bounds a whole request."""

    def __init__(self, url: str, timeout: float, timer: Timer) -> None:
        self._timeout = timeout
        self._timer = timer
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            verify=url.startswith("https:"),  # a tenth of a second of reading certificates that nothing else needs
            timeout=httpx.Timeout(timeout),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=32, keepalive_expiry=30),
            headers={"User-Agent": "flagstream-stream-server"},
        )
        self._turns = asyncio.Semaphore(FOR_ANYBODY)
        self._down = False

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def get(self, path: str, environment_key: str, query: str = "", *, known: bool = False) -> Answer:
        """Fetch ``/api/v1/{path}/``; `known` documents never wait for others. `UnavailableError`, `RefusedError`."""
        url = f"/api/v1/{path}/{'?' + query if query else ''}"
        request = self._client.build_request("GET", url, headers={"X-Environment-Key": environment_key})
        return await (self._ask(request) if known else self._ask_in_turn(request))

    async def post(self, path: str, environment_key: str, body: bytes) -> Answer:
        """Post JSON to ``/api/v1/{path}/``. Raises `UnavailableError` or `RefusedError`."""
        return await self._ask_in_turn(self._post(path, environment_key, body))

    async def report(self, path: str, environment_key: str, body: bytes) -> None:
        """Post JSON and ignore what the answer says. Raises `UnavailableError` or `RefusedError`."""
        await self._ask(self._post(path, environment_key, body), read=_acknowledged)

    def _post(self, path: str, environment_key: str, body: bytes) -> httpx.Request:
        headers = {"X-Environment-Key": environment_key, "Content-Type": "application/json"}
        return self._client.build_request("POST", f"/api/v1/{path}/", headers=headers, content=body)

    async def _ask_in_turn(self, request: httpx.Request) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                await self._turns.acquire()
        except TimeoutError:
            raise UnavailableError("too many requests wait for it") from None
        try:
            return await self._ask(request)
        finally:
            self._turns.release()

    async def _ask(self, request: httpx.Request, read: Callable[[httpx.Response], Answer] | None = None) -> Answer:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.send(request)
            answer = (read or _answer)(response)
        except (httpx.HTTPError, TimeoutError, UnavailableError) as error:
            self._note(str(error) or type(error).__name__)
            raise UnavailableError(str(error) or type(error).__name__) from error
        except RefusedError:
            self._note("")
            raise
        finally:
            self._timer.observe(time.monotonic() - began)
        self._note("")
        return answer

    def _note(self, failure: str) -> None:
        """Log when it goes and when it is back, not each request in between."""
        if bool(failure) == self._down:
            return
        self._down = bool(failure)
        if failure:
            log.warning("the upstream of the documents fails; what is cached is served", error=failure)
        else:
            log.info("the upstream of the documents answers again")


def _acknowledged(response: httpx.Response) -> Answer:
    if not response.is_success:
        _refuse(response)
    return Answer(b"", 0, labelled=False, environment="")


def _refuse(response: httpx.Response) -> NoReturn:
    if response.status_code not in PASSED_THROUGH:
        raise UnavailableError(f"it answered {response.status_code}")
    problem = _refusal(response.status_code, response.content)
    if problem is None:
        # The page of a proxy that has lost its way to the API: it says nothing about the key.
        raise UnavailableError(f"it answered {response.status_code} without JSON")
    raise RefusedError(problem)


def _answer(response: httpx.Response) -> Answer:
    body = response.content
    if response.status_code != httpx.codes.OK:
        _refuse(response)
    try:
        content = msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnavailableError(f"it answered something that is no JSON: {error}") from None
    if not isinstance(content, dict | list):
        raise UnavailableError("it answered JSON that is no document")
    environment = response.headers.get("X-Flagstream-Environment", "")
    if not environment and isinstance(content, dict):
        environment = content.get("api_key", "")
    if not isinstance(environment, str) or not is_key(environment):
        environment = ""
    label = response.headers.get("X-Flagstream-Version", "")
    if label.isascii() and label.isdigit() and _is_sane(int(label[:20])):
        return Answer(body, int(label), labelled=True, environment=environment)
    version = _microseconds(response.headers.get("X-Flagsmith-Document-Updated-At", ""))
    return Answer(body, version, labelled=False, environment=environment)


def _refusal(status: int, body: bytes) -> Problem | None:
    """Return the upstream's refusal, None where it does not speak for itself."""
    try:
        is_object = isinstance(msgspec.json.decode(body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        is_object = False
    if is_object:
        return Problem(status, f"the upstream answered {status}", body=body)
    if status in OF_THE_API:
        return None
    # An HTML page would make SDKs fail on something else than what is wrong.
    return Problem(status, f"The upstream answered {status}.")


def _microseconds(seconds: str) -> int:
    try:
        version = int(Decimal(seconds) * 1_000_000)
    except (InvalidOperation, ValueError, OverflowError):
        return 0
    return version if _is_sane(version) else 0


def _is_sane(version: int) -> bool:
    """Tell whether a version can be believed: one far ahead would make its document the newest for good."""
    return 0 < version < _HIGHEST_VERSION and not is_too_far_ahead(version)
