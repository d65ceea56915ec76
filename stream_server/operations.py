"""Follows the reserved environment that the controls of this server are flags of, and puts them in force.

The knobs travel the way of every flag: toggled in the management API, announced by the broker, read through the
layered cache of documents. So they reach every process of every host, and the snapshot keeps them over a restart with
everything else away. What cannot be had or read changes nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from flagstream.logs import get_logger
from stream_server.control import Controls, LiveControls
from stream_server.documents import FlagsDocument, NoDocumentError
from stream_server.knobs import KNOBS, UnreadableError, read_document

__all__ = ["Operations"]

log = get_logger(__name__)

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
"""Seconds between attempts to read while that fails; an announcement is followed at once all the same."""

BEFORE_SERVING: Final = 2.0
"""Seconds that a start waits for the first reading, so that a restart does not lift a kill switch for a moment."""

LOOK_AGAIN: Final = 30.0
"""Seconds after which is read again without an announcement: a Flagsmith API may lag behind its own."""


class Documents(Protocol):
    """Where flags are read."""

    async def flags(self, environment_key: str) -> FlagsDocument:
        """Return the flags, as new as they can be had. Raises `NoDocumentError`."""

    async def saved_flags(self, environment_key: str) -> FlagsDocument | None:
        """Return the flags that outlived the last run."""


class Operations:
    """The follower of one process; `key` is the setting `control_key`, empty for no control at all.

    `apply` is told of each new set of controls, and `live` always answers by the last.
    """

    def __init__(
        self,
        key: str,
        *,
        documents: Documents,
        live: LiveControls,
        apply: Callable[[Controls], None],
        registry: CollectorRegistry,
    ) -> None:
        self._key = key
        self._documents = documents
        self._live = live
        live.controls = Controls(exempt=key)
        self._apply = apply
        self._figures = _Figures(registry)
        self._wanted = asyncio.Event()
        self._begun = asyncio.Event()
        self._version = 0
        self._unread: dict[str, object] = {}
        self._failing = False

    def on_news(self, key: str) -> None:
        """Read again if `key` is the environment of the controls, which has a new version."""
        if key == self._key:
            self._wanted.set()

    async def begun(self) -> None:
        """Wait until what can be known at the start is in force, `BEFORE_SERVING` at most."""
        if self._key:
            try:
                async with asyncio.timeout(BEFORE_SERVING):
                    await self._begun.wait()
            except TimeoutError:
                self._failed("the upstream takes its time")

    async def run(self) -> None:
        """Follow for ever; without a key there is nothing to follow."""
        if not self._key:
            await asyncio.Event().wait()
        saved = await self._documents.saved_flags(self._key)
        if saved is not None:
            self._take(saved)
        pause = FIRST_PAUSE
        while True:
            self._wanted.clear()  # before reading: what is announced meanwhile is read afterwards
            current = await self._read()
            self._begun.set()
            pause = FIRST_PAUSE if current else min(pause * 2, LONGEST_PAUSE)
            wait = LOOK_AGAIN if current else pause * random.uniform(0.5, 1)  # noqa: S311 - jitter
            try:
                async with asyncio.timeout(wait):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _read(self) -> bool:
        """Read the flags and put them in force; False where they could not be had as new as announced."""
        try:
            document = await self._documents.flags(self._key)
        except NoDocumentError as error:
            self._failed(str(error))
            return False
        self._take(document)
        if not document.current:
            self._failed("the upstream does not give the newest ones")
            return False
        if self._failing:
            log.info("the flags of control_key are read again")
        self._failing = False
        return True

    def _failed(self, reason: str) -> None:
        self._figures.failures.inc()
        if not self._failing:
            log.warning("the flags of control_key could not be read; what was in force stays", reason=reason)
        self._failing = True

    def _take(self, document: FlagsDocument) -> None:
        """Put in force what `document` says, as far as that can be read."""
        if document.version < self._version:  # the last good one of a layer may be older than what is in force
            return
        self._version = document.version
        try:
            flags = read_document(document.body)
        except UnreadableError as error:
            self._refuse("document", document.body, error)
            return
        self._unread.pop("document", None)
        before = self._live.controls
        controls = before
        for name, (field, read) in KNOBS.items():
            try:
                controls = replace(controls, **{field: read(flags.get(name))})
            except UnreadableError as error:
                self._refuse(name, flags.get(name), error)
            else:
                self._unread.pop(name, None)
        if controls != before:
            self._live.controls = controls
            self._apply(controls)
            entries = {name: len(getattr(controls, field)) for name, (field, _) in KNOBS.items()}
            self._figures.tell(entries)
            log.info("operational controls changed", **{name.replace("-", "_"): n for name, n in entries.items()})

    def _refuse(self, name: str, value: object, error: UnreadableError) -> None:
        """Count and say, once a value, that it cannot be read."""
        if self._unread.get(name) == value:
            return
        self._unread[name] = value
        self._figures.unreadable.labels(name).inc()
        log.warning("a control cannot be read; what was in force stays", control=name, reason=str(error))


class _Figures:
    """What is counted; no environment key is a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._entries = Gauge(
            "flagstream_controlled_environments",
            "Environments that a control names, all the others being one",
            ["control"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.unreadable = Counter(
            "flagstream_unreadable_controls",
            "Values of controls that could not be read",
            ["control"],
            registry=registry,
        )
        self.failures = Counter(
            "flagstream_failed_control_readings", "Readings of the controls that did not succeed", registry=registry
        )
        self.tell(dict.fromkeys(KNOBS, 0))

    def tell(self, entries: dict[str, int]) -> None:
        """Publish how many entries each control has."""
        for name, count in entries.items():
            self._entries.labels(name).set(count)
