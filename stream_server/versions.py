"""The newest version of every environment, in a table that the worker processes of one host share.

A client that hears of a version from one worker may ask another one for the document. So the feed of each worker
advances this table before it dispatches, and every worker reads the maximum over all.

The table is a memory-mapped file: a header, then one region a worker that this worker alone writes. A region is an
open-addressing hash table of two 64-bit words a slot: the BLAKE2b digest of the key (RFC 7693), and 53 bits of version
with 11 bits of check. A word is aligned and stored by one instruction, so that a reader finds the version before or the
one after; the check makes anything else (a torn store, a damaged file) read as unknown instead of as a wrong version.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

__all__ = ["SharedVersions"]

_MAGIC: Final = b"FSVERS01"
_HEADER: Final = struct.Struct("=8sQQ")  # magic, slots of a region, regions
_HEADER_BYTES: Final = 4096
_WORD: Final = 8
_CHECK_BITS: Final = 11
_CHECK_MASK: Final = (1 << _CHECK_BITS) - 1
_MAX_VERSION: Final = 1 << (64 - _CHECK_BITS)
_SPREAD: Final = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: spreads every bit to the top ones
_ALL_BITS: Final = (1 << 64) - 1


class SharedVersions:
    """Newest version (microseconds since the epoch) by environment key, shared by `workers` processes.

    `path` is the file they share (None: private to this process), `slots` the number of environments it holds,
    `index` which of the workers this process is. A table that is full counts the keys it had no room for in
    `overflowed` and keeps them in this process's memory, where other workers do not see them.
    """

    def __init__(self, path: str | None, slots: int, workers: int, index: int) -> None:
        if not 0 <= index < workers:
            raise ValueError(f"index {index}: must be from 0 to {workers - 1}, one for each of {workers} workers")
        self.overflowed = 0
        self._own: dict[str, int] = {}
        self._limit = slots
        self._used = 0
        self._mapping: mmap.mmap | None = None
        self._words = memoryview(b"").cast("Q")
        self._regions: tuple[int, ...] = ()
        self._digest: Callable[[str], int] = lru_cache(maxsize=slots)(_digest)
        capacity = 1 << (slots + slots // 2).bit_length()  # at most two thirds full, so that probing stays short
        self._mask = capacity - 1
        self._region = 0
        if path is not None:
            self._mapping = _map(Path(path), capacity, workers)
            self._words = memoryview(self._mapping).cast("Q")
            first = _HEADER_BYTES // _WORD
            self._regions = tuple(first + worker * capacity * 2 for worker in range(workers))
            self._region = self._regions[index]
            self._used = sum(1 for slot in range(capacity) if self._words[self._region + 2 * slot])

    def advance(self, key: str, version: int) -> bool:
        """Raise `key` to `version`; True when this grew this process's own value. Raises ValueError beyond 2^53."""
        if not 0 < version < _MAX_VERSION:
            raise ValueError(f"version {version}: must be above 0 and below 2^53 microseconds")
        if version <= self._own.get(key, 0):
            return False
        known = key in self._own
        self._own[key] = version
        if self._mapping is not None and not self._store(key, version) and not known:
            self.overflowed += 1
        return True

    def newest(self, key: str) -> int:
        """Return the newest version that any worker of this host knows, 0 where none does."""
        newest = self._own.get(key, 0)
        if not self._regions:
            return newest
        digest, mask, words = self._digest(key), self._mask, self._words
        for region in self._regions:
            slot = digest & mask
            while found := words[region + 2 * slot]:
                if found == digest:
                    version = _version(words[region + 2 * slot + 1], digest)
                    newest = max(newest, version)
                    break
                slot = (slot + 1) & mask
        return newest

    def known(self) -> dict[str, int]:
        """Return the versions that this process itself has been told."""
        return dict(self._own)

    def close(self) -> None:
        """Unmap the file; this process's own versions stay readable."""
        self._regions = ()
        self._words.release()
        if self._mapping is not None:
            self._mapping.close()
            self._mapping = None

    def _store(self, key: str, version: int) -> bool:
        """Write `version` into this worker's region; False where that is full."""
        digest, mask, words, region = self._digest(key), self._mask, self._words, self._region
        slot = digest & mask
        while found := words[region + 2 * slot]:
            if found == digest:
                break
            slot = (slot + 1) & mask
        place = region + 2 * slot
        if not found and self._used >= self._limit:
            return False
        # The region may hold a newer version than this process knows: one that its predecessor was told.
        if not found or version > _version(words[place + 1], digest):
            words[place + 1] = version << _CHECK_BITS | _check(version, digest)
        if not found:
            words[place] = digest  # last: a slot without its digest is empty to every reader
            self._used += 1
        return True


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") or 1


def _check(version: int, digest: int) -> int:
    return (((version ^ digest) * _SPREAD) & _ALL_BITS) >> (64 - _CHECK_BITS)


def _version(word: int, digest: int) -> int:
    version = word >> _CHECK_BITS
    return version if word & _CHECK_MASK == _check(version, digest) else 0


def _map(path: Path, capacity: int, workers: int) -> mmap.mmap:
    """Map the shared file, made anew when it is missing or has another layout."""
    header = _HEADER.pack(_MAGIC, capacity, workers)
    size = _HEADER_BYTES + workers * capacity * 2 * _WORD
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Workers start together: one makes the file, the others find it made.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_size != size or os.pread(descriptor, _HEADER.size, 0) != header:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, size)
            os.pwrite(descriptor, header, 0)
        mapping = mmap.mmap(descriptor, size)
        # The mapping keeps a duplicate of the descriptor and with it the lock, so closing alone would not give it up.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
    return mapping
