"""The second layer: documents in Redis, shared by all hosts, written by compare-and-set on their version.

A Redis that is slow or away costs one time-out; from then on it is passed over until a probe behind the requests
finds it well again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from flagstream.logs import get_logger
from stream_server.documents.counts import Counts
from stream_server.documents.document import Document, DocumentKey

__all__ = ["RedisLayer"]

log = get_logger(__name__)

PREFIX: Final = "flagstream:document:"
KEPT_FOR: Final = 7 * 86400
"""Seconds that Redis keeps a document nobody writes again."""

CONNECTIONS: Final = 32
"""Commands at once; a burst of more waits here, or its own queue would look like a slow Redis."""

PROBE_INTERVAL: Final = 1.0
"""Seconds between probes of a Redis that failed."""

COMPARE_AND_SET: Final = """
local version, began = redis.call('HGET', KEYS[1], 'version'), redis.call('HGET', KEYS[1], 'began')
if version and (tonumber(version) > tonumber(ARGV[1])
    or (tonumber(version) == tonumber(ARGV[1]) and tonumber(began or '0') > tonumber(ARGV[2]))) then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'began', ARGV[2], 'document', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""
"""Keeps the newer of two documents, whichever is written last; versions are exact as doubles below 2^53."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Document)


class RedisLayer:
    """Documents in the Redis at `url`; no command may take longer than `timeout` seconds."""

    def __init__(self, url: str, timeout: float, counts: Counts) -> None:
        self._timeout = timeout
        self._failures = counts.redis_failures
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # the caller waits for nothing twice
            max_connections=CONNECTIONS + 1,  # one for the probe
        )
        self._ill = asyncio.Event()
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._script = ""

    @property
    def is_well(self) -> bool:
        """Whether it is asked at all now."""
        return not self._ill.is_set()

    async def get(self, key: DocumentKey) -> Document | None:
        """Return the document that Redis holds, None too when Redis fails."""
        packed = await self._try(lambda: self._redis.hget(_name(key), "document"))
        if packed is None:
            return None
        try:
            return _decoder.decode(packed)
        except msgspec.DecodeError:
            log.warning("what Redis holds is no document of ours; it is passed over")
            return None

    async def put(self, key: DocumentKey, document: Document) -> None:
        """Write `document` unless Redis holds a newer one."""
        arguments = (_name(key), document.version, document.began, _encoder.encode(document), KEPT_FOR)
        await self._try(lambda: self._compare_and_set(arguments))

    async def drop(self, key: DocumentKey) -> None:
        """Delete the document of `key`."""
        await self._try(lambda: self._redis.delete(_name(key)))

    async def run(self) -> None:
        """Probe a Redis that failed until it is well, for ever."""
        while True:
            await self._ill.wait()
            await asyncio.sleep(PROBE_INTERVAL)
            if await self._attempt(self._redis.ping) is not None:
                self._ill.clear()
                log.info("Redis answers again")

    async def stop(self) -> None:
        """Close every connection."""
        await self._redis.aclose()

    async def _compare_and_set(self, arguments: tuple[Any, ...]) -> Any:
        if not self._script:
            self._script = await self._redis.script_load(COMPARE_AND_SET)
        try:
            return await self._redis.evalsha(self._script, 1, *arguments)
        except NoScriptError:  # it was restarted since
            return await self._redis.eval(COMPARE_AND_SET, 1, *arguments)

    async def _try(self, command: Callable[[], Any]) -> Any:
        """Run `command` unless Redis is known to be ill; None where it fails."""
        if self._ill.is_set():
            return None
        async with self._turns:
            # Who waited for a turn asks again: one that fails must not make all behind it wait for the same.
            return await self._attempt(command) if self.is_well else None

    async def _attempt(self, command: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await command()
        except (RedisError, OSError, TimeoutError) as error:
            self._failures.inc()
            if not self._ill.is_set():
                log.warning("Redis fails and is passed over", error=str(error) or type(error).__name__)
                self._ill.set()
            return None


def _name(key: DocumentKey) -> str:
    return PREFIX + key.digest
