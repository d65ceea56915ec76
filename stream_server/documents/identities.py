"""One person's flags asked for with traits: always the upstream's own answer, the last one only when it fails."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from publisher.messages import now
from stream_server.documents.answers import Failure, Problem, Rendered
from stream_server.documents.cache import RETRY_SOON, UNREACHABLE, Cache, Served
from stream_server.documents.document import DocumentKey
from stream_server.documents.request import LONGEST_IDENTIFIER, json_object
from stream_server.documents.upstream import RefusedError, UnavailableError, Upstream

__all__ = ["Identities"]

PATH: Final = "identities"


class Identities:
    """Posts identities to `upstream` and remembers the answers, in memory only."""

    def __init__(self, cache: Cache, upstream: Upstream) -> None:
        self._cache = cache
        self._upstream = upstream

    async def post(self, environment_key: str, body: bytes) -> Served:
        """Post an identity with its traits, once: a second attempt could write traits twice. Raises `Problem`."""
        _check(json_object(body))
        key = DocumentKey(PATH, environment_key, f"body={hashlib.blake2b(body, digest_size=16).hexdigest()}")
        announced, began = self._cache.announced(environment_key), now()
        try:
            answer = await self._upstream.post(PATH, environment_key, body)
        except RefusedError as refused:
            raise refused.problem from None
        except UnavailableError:
            held = self._cache.remembered(key)
            if held is None:
                raise Failure(502, UNREACHABLE, headers=RETRY_SOON) from None
            return Served(held, "memory", stale=True)
        finally:
            # Traits decide flags: what a GET began to fetch before them is not this person's answer any more.
            self._cache.seal(PATH, environment_key)
        document = self._cache.document(environment_key, answer, announced=announced, began=began)
        self._cache.remember(key, document)
        return Served(Rendered(document, kept=False), "upstream")


def _check(content: dict[str, Any]) -> None:
    """Raise `Problem` 400 for what is no identity with traits."""
    identifier = content.get("identifier", "")
    if not isinstance(identifier, str) or len(identifier) > LONGEST_IDENTIFIER:
        raise Problem(400, f"identifier must be a text of at most {LONGEST_IDENTIFIER} characters.")
    if not identifier and content.get("transient") is not True:
        raise Problem(400, "identifier is missing: it says whose flags are asked for.")
    traits = content.get("traits", [])
    if not isinstance(traits, list):
        raise Problem(400, "traits must be a list.")
    for trait in traits:
        if not isinstance(trait, dict) or not isinstance(trait.get("trait_key"), str) or not trait["trait_key"]:
            raise Problem(400, "each of traits must be an object with a trait_key.")
