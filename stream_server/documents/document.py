"""What is cached: a document's key, and its bytes with the version they carry."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

__all__ = ["SERVER_PREFIX", "Document", "DocumentKey", "is_environment_key"]

SERVER_PREFIX: Final = "ser."
"""How a server-side key begins; its environment is known under another, the client-side key."""

_KEY: Final = re.compile(r"(?:ser\.)?[A-Za-z0-9_-]{1,128}")


def is_environment_key(text: str) -> bool:
    """Tell whether `text` can be a client-side or server-side environment key."""
    return _KEY.fullmatch(text) is not None


class DocumentKey(NamedTuple):
    """One document: its path below ``/api/v1/``, the environment key that was sent, and the query that selects it."""

    path: str
    environment_key: str
    query: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether it is kept outside this process: whole documents are, answers for one person are not."""
        return not self.query and not self.is_personal

    @property
    def is_personal(self) -> bool:
        """Whether it is one person's: traits decide it, which change without an announcement."""
        return self.path == "identities"

    @property
    def digest(self) -> str:
        """Return what stands for it where keys must not be read: 32 hex digits (BLAKE2b, RFC 7693)."""
        text = "\0".join(self)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Document(msgspec.Struct, frozen=True, dict=True):
    """A document as the upstream gave it.

    `version` in microseconds since the epoch, never newer than the body. `began` is when its fetch began, in
    microseconds: of two documents of one version the later fetch has the newer body. `environment` is the client-side
    key, empty where it is not known. `stated` is the version that the upstream itself puts on the body; it is below
    `version` where that had to be taken from what was announced.
    """

    version: int
    began: int
    environment: str
    body: bytes
    stated: int = 0

    @property
    def age_order(self) -> tuple[int, int]:
        """Orders documents of one key from oldest to newest."""
        return self.version, self.began

    @cached_property
    def etag(self) -> bytes:
        """Return the entity tag: version and body, because a body may change under one version."""
        return b'"%d-%s"' % (self.version, hashlib.blake2b(self.body, digest_size=6).hexdigest().encode())
