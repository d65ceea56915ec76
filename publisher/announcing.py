"""The way to the broker, put together: the NATS client, the announcer, the relay, reconciliation, stream counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import nats.errors

from flagstream.logs import get_logger
from publisher.announcer import Announcer, NotAnnouncedError
from publisher.counts import Streams, stream_counts
from publisher.database import Database
from publisher.edges import Edges, edge_counts
from publisher.errors import BrokerAwayError, NotFoundError
from publisher.messages.client import Client, connect
from publisher.messages.jetstream import JetStreamError
from publisher.metrics import Announced, Metrics
from publisher.purging import PurgeFirst, edges_of
from publisher.purging.figures import PurgeFigures
from publisher.reconcile import Reconciler
from publisher.relay import Relay
from publisher.reset import reset_version
from publisher.settings import PublisherSettings
from publisher.tasks import Tasks

__all__ = ["Announcing"]

_logger = get_logger(__name__)

GRACE = 0.5
"""Seconds that a stopping process goes on announcing; what is left is announced by another or by the next."""


CONCURRENCY = 64
PURGING = 1024
"""Environments announced at once; one that is purged first takes a worker for a tenth of a second and more."""


class Announcing:
    """Exists before the loop runs, because the store needs it; `start` makes the parts that need the loop."""

    def __init__(self, settings: PublisherSettings, database: Database, metrics: Metrics) -> None:
        self._settings = settings
        self._database = database
        self._metrics = metrics
        self._client: Client | None = None
        self._relay: Relay | None = None
        self._reconciler: Reconciler | None = None
        self._purges: PurgeFirst | None = None
        self._connected = False

    @property
    def id(self) -> str:
        """The name under which this process claims announcements."""
        assert self._relay is not None, "not started"  # noqa: S101 - no request comes before the start
        return self._relay.id

    def push(self, versions: Mapping[str, int]) -> None:
        """Publish these versions by environment key now."""
        assert self._relay is not None, "not started"  # noqa: S101 - the same
        self._relay.push(versions)

    def connected(self) -> bool:
        """Tell whether NATS is there."""
        return self._connected

    async def start(self, tasks: Tasks) -> None:
        """Connect in the background and begin to relay; NATS need not be there."""
        settings = self._settings
        self._client = await connect(
            settings.nats_url,
            name="flagstream publisher",
            credentials=settings.nats_credentials,
            on_connected=self._on_connected,
            on_disconnected=self._on_disconnected,
            on_error=self._on_error,
        )
        announcer = Announcer(self._client, replicas=settings.nats_replicas)
        self._purges = purges = self._purge_first(announcer)
        concurrency = PURGING if purges else CONCURRENCY
        self._relay = relay = Relay(self._database, purges or announcer, concurrency=concurrency)
        self._reconciler = reconciler = Reconciler(
            self._database, self._client, announcer, relay, interval=settings.reconcile_interval
        )
        self._metrics.follow(lambda: announced(relay, reconciler, announcer))
        if purges is not None:
            self._metrics.registry.register(PurgeFigures(purges))
            tasks.start("purges", purges.run())
        tasks.start("relay", relay.run())
        tasks.start("reconcile", reconciler.run())

    def _purge_first(self, announcer: Announcer) -> PurgeFirst | None:
        """Return an announcer that purges first, None where there is nothing to purge."""
        settings, edges = self._settings, edges_of(self._settings)
        if self._client is None or not edges:
            return None
        return PurgeFirst(
            announcer,
            self._client,
            edges,
            lead=settings.purge_lead,
            tiers=settings.purge_tiers,
            again=settings.purge_again,
        )

    def purges(self) -> str:
        """Return which edges are not purged and why, ``ok``, or nothing where purging is off."""
        return "" if self._purges is None else self._purges.fault or "ok"

    async def stop(self) -> None:
        """Try once more to announce what waits; the relay's task has to run still."""
        if self._relay is not None:
            await self._relay.stop(GRACE)

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()

    async def counts(self, keys: Sequence[str]) -> Streams:
        """Ask the stream servers how many streams each environment has; unknown while NATS is away."""
        found = None if self._client is None or not keys else await stream_counts(self._client, keys)
        if found is None:
            return Streams(None, dict.fromkeys(keys))
        return Streams(found.servers, dict(found.streams))

    async def edges(self) -> Edges:
        """Ask the edges how many clients and origin streams they have; unknown while NATS is away."""
        return Edges(None) if self._client is None else await edge_counts(self._client)

    async def reset(self, key: str, actor: str) -> int:
        """Put the version of `key` back to now; raises `NotFoundError` and `BrokerAwayError`."""
        if self._client is None or not self._connected:
            raise BrokerAwayError("NATS cannot be reached now; nothing was changed")
        try:
            return await reset_version(
                self._database, self._client, key, actor=actor, replicas=self._settings.nats_replicas
            )
        except KeyError:
            raise NotFoundError("environment", key) from None
        except (NotAnnouncedError, JetStreamError, nats.errors.Error, TimeoutError) as error:
            raise BrokerAwayError(f"the version was put back but is not announced yet: {error}; repeat it") from error

    def _on_connected(self) -> None:
        self._connected = True
        if self._relay is not None:
            self._relay.connected()
        if self._reconciler is not None:
            self._reconciler.connected()

    def _on_disconnected(self) -> None:
        self._connected = False
        if self._relay is not None:
            self._relay.disconnected()
        if self._reconciler is not None:
            self._reconciler.disconnected()

    def fault(self) -> str:
        """Return what is wrong by the last comparison of database and broker, or why it failed; empty if nothing."""
        if self._reconciler is None:
            return ""
        last = self._reconciler.last
        ahead = 0 if last is None else last.too_far_ahead
        told = f"{ahead} environments have a version more than 300 s ahead; reset them" if ahead else ""
        return self._reconciler.fault or told

    def _on_error(self, error: Exception) -> None:
        _logger.warning("NATS reports an error", error=f"{type(error).__name__}: {error}")


def announced(relay: Relay, reconciler: Reconciler, announcer: Announcer) -> Announced:
    """Return the figures of the parts that announce."""
    counters, last = relay.counters, reconciler.last
    return Announced(
        published=counters.published,
        failed=counters.failed,
        blocked=counters.blocked,
        refused=announcer.refused,
        marked=counters.marked,
        database_errors=counters.database_errors,
        lag=counters.lag,
        too_far_ahead=0 if last is None else last.too_far_ahead,
    )
