"""Settings of the stream server; `default.toml` beside this file states the defaults and what each one is."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr

from flagstream.logs import LogFormat, LogLevel
from flagstream.settings import ProgramSettings, url_fault
from publisher.messages import is_key
from stream_server.addresses import network_fault
from stream_server.budget import bytes_for, events_that_fit
from stream_server.capacity import Capacity, reachable_files
from stream_server.certificate import certificate_fault

__all__ = ["StreamServerSettings"]

Seconds = Annotated[float, Field(gt=0, le=86400)]

SHORTEST_STREAM = 2.0
"""Seconds that every stream lives at least: shorter ones send published SDKs into a loop."""

SHORTEST_WINDOW = 1.0
"""Seconds of the shortest join window: caches count whole ones."""

LONGEST_WAIT = 10.0
"""Seconds that a stream lives at most that only keeps its client from coming back at once."""

WAITING_BEAT = 2.0
"""Seconds between heartbeats in a waiting room at most: the shortest stream is to have one."""

WAITING_RETRY = 1.0

FEWEST_EVENTS = 4
"""Events that a stream has room for at least, also where no `min_interval` says how many there may be."""

SLOWEST_PACE = 0.1

DRAIN_MARGIN = 5.0
"""Seconds that a drain is longer than a lifetime, so that every stream reaches its own end."""


class StreamServerSettings(ProgramSettings):
    """All settings of one stream server."""

    program: ClassVar[str] = "stream_server"

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    workers: Annotated[int, Field(ge=1, le=256)]
    supervised: bool
    tls_certificate: str
    tls_key: str
    nats_url: Annotated[tuple[str, ...], Field(min_length=1)]
    nats_credentials: str
    resync_interval: Seconds

    edge: bool
    lifetime: Annotated[float, Field(ge=SHORTEST_STREAM, le=86400)]
    join_window: Annotated[float, Field(ge=0, le=86400)]
    edge_tiers: Annotated[int, Field(ge=1, le=4)]
    waiting_room: bool
    waiting_for: tuple[str, ...]
    edge_guard: bool
    heartbeat: Seconds
    peer_timeout: Annotated[float, Field(ge=1, le=3600)]
    min_interval: Annotated[float, Field(ge=0, le=60)]
    max_events: Annotated[int, Field(ge=4, le=100_000)]
    max_bytes: Annotated[int, Field(ge=1024, le=20_000_000)]
    retry: Annotated[float, Field(ge=0.1, le=60)]
    unknown_keys: Literal["hold", "reject"]
    drain: Annotated[float, Field(ge=0, le=86400)]
    max_streams: Annotated[int, Field(ge=0)]
    streams_per_address: Annotated[int, Field(ge=0)]
    trusted_proxies: tuple[str, ...]
    accept_pace: Annotated[float, Field(ge=0, le=1_000_000)]

    upstream_url: str
    upstream_timeout: Seconds
    redis_url: SecretStr
    redis_timeout: Seconds
    snapshot_dir: str
    document_memory_bytes: Annotated[int, Field(ge=1024 * 1024)]
    max_environments: Annotated[int, Field(ge=16, le=16 * 1024 * 1024)]
    control_key: str
    max_body_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)]
    log_format: LogFormat
    log_level: LogLevel

    def remarks(self) -> Iterator[str]:
        """Yield what these settings come to on this machine."""
        capacity = Capacity.within(reachable_files(), self.max_streams)
        yield f"{capacity.streams} streams in each process, {capacity.streams * self.workers} in all"
        if shortage := capacity.shortage:
            yield f"max_streams = {self.max_streams}: {shortage}"

    @property
    def events_of_a_stream(self) -> int:
        """Return how many events fit into `max_events` and `max_bytes`."""
        fitting = events_that_fit(self.max_bytes, lifetime=self.lifetime, heartbeat=self.heartbeat)
        return min(self.max_events, fitting)

    @property
    def shortest_stream(self) -> float:
        """Return the seconds of the shortest stream; behind an edge the shortest join window fits into it."""
        return max(SHORTEST_STREAM, SHORTEST_WINDOW + 1 + self.edge_tiers) if self.edge else SHORTEST_STREAM

    def of_waiting_room(self) -> Self:
        """Return these settings as a waiting room uses them: a part of the edge, with short streams for everybody."""
        return self.model_copy(
            update={
                "edge": True,
                "lifetime": min(self.lifetime, LONGEST_WAIT),
                "join_window": SHORTEST_WINDOW,
                "heartbeat": min(self.heartbeat, WAITING_BEAT),
                "retry": WAITING_RETRY,
            }
        )

    def rules(self) -> Iterator[str]:
        """Yield what these settings get wrong together."""
        yield from self._life_rules()
        yield from self._waiting_rules()
        yield from self._size_rules()
        yield from self._client_rules()
        yield from self._place_rules()

    def _life_rules(self) -> Iterator[str]:
        latest = self.lifetime - (1 + self.edge_tiers)
        if self.join_window > max(latest, 0):
            yield (
                f"join_window = {self.join_window:g}: must be at most {max(latest, 0):g}, which is lifetime less "
                "1 s and 1 s a tier: `Age` is whole seconds, and who joins a stream at its end is ended at once"
            )
        if self.edge and self.join_window < SHORTEST_WINDOW:
            yield (
                f"join_window = {self.join_window:g}: must be at least {SHORTEST_WINDOW:g} with edge = true: CDNs "
                "count whole seconds, so no two clients would share a stream"
            )
        if self.edge and self.drain < self.lifetime + DRAIN_MARGIN:
            yield (
                f"drain = {self.drain:g}: must be at least lifetime + {DRAIN_MARGIN:g} = "
                f"{self.lifetime + DRAIN_MARGIN:g} with edge = true: what is open when the drain is over is cut"
            )
        if self.heartbeat > 60:  # noqa: PLR2004 - Fastly's inner nodes take 60 s of silence for the end of the body
            yield "heartbeat: must be at most 60: CDN nodes take a minute of silence for the end of the stream"

    def _waiting_rules(self) -> Iterator[str]:
        yield from (f"waiting_for: {fault}" for url in self.waiting_for if (fault := url_fault(url, "http", "https")))
        if not self.waiting_room:
            if self.waiting_for:
                yield "waiting_for: must be empty without waiting_room = true: only a waiting room looks for servers"
            if self.edge_guard:
                yield "edge_guard: must be false without waiting_room = true: only a waiting room ends streams early"
            return
        used = self.of_waiting_room()
        if used.lifetime < used.shortest_stream:
            yield (
                f"lifetime = {self.lifetime:g}: must be at least {used.shortest_stream:g} with waiting_room = true: "
                f"{SHORTEST_WINDOW:g} s to join a stream, 1 s and 1 s a tier in which nobody may"
            )
        if not self.edge and self.drain < used.lifetime + DRAIN_MARGIN:
            yield (
                f"drain = {self.drain:g}: must be at least {used.lifetime + DRAIN_MARGIN:g} with waiting_room = true, "
                f"the longest wait and {DRAIN_MARGIN:g} s: what is open when the drain is over is cut"
            )

    def _size_rules(self) -> Iterator[str]:
        if self.min_interval and self.lifetime / self.min_interval + 2 > self.max_events:
            yield (
                f"max_events = {self.max_events}: must be at least lifetime / min_interval + 2 = "
                f"{self.lifetime / self.min_interval + 2:g}: a stream is never ended for its number of events"
            )
        events = FEWEST_EVENTS
        if self.min_interval:
            events = max(events, ceil(self.lifetime / self.min_interval + 2))
        fewest = bytes_for(events, lifetime=self.lifetime, heartbeat=self.heartbeat)
        if self.max_bytes < fewest:
            yield (
                f"max_bytes = {self.max_bytes}: must be at least {fewest}, which {events} events "
                f"(lifetime / min_interval + 2, at least {FEWEST_EVENTS}) and the heartbeats of a lifetime take: "
                "a stream is never ended for its size"
            )

    def _client_rules(self) -> Iterator[str]:
        yield from (f"trusted_proxies: {fault}" for each in self.trusted_proxies if (fault := network_fault(each)))
        if (self.edge or self.waiting_room) and self.streams_per_address:
            behind = "edge = true" if self.edge else "waiting_room = true"
            yield (
                f"streams_per_address = {self.streams_per_address}: must be 0 with {behind}: one stream serves "
                "everybody behind the CDN, and would be charged to, or refused because of, whoever came first"
            )
        if 0 < self.accept_pace < SLOWEST_PACE:
            yield f"accept_pace = {self.accept_pace:g}: must be 0 for any, or at least {SLOWEST_PACE:g} a second"
        yield from self._tls_rules()

    def _tls_rules(self) -> Iterator[str]:
        if bool(self.tls_certificate) != bool(self.tls_key):
            yield "tls_certificate and tls_key: give both, or none of them to serve plain HTTP"
            return
        files = {"tls_certificate": self.tls_certificate, "tls_key": self.tls_key}
        missing = [
            f"{name}: there is no file {path}" for name, path in files.items() if path and not Path(path).is_file()
        ]
        yield from missing
        if self.tls_certificate and not missing and (fault := certificate_fault(*files.values())):
            yield f"tls_certificate and tls_key: {fault}"

    def _place_rules(self) -> Iterator[str]:
        if self.control_key and not is_key(self.control_key):
            yield "control_key: must be the client-side key of an environment: 1 to 128 letters, digits, - and _"
        if fault := url_fault(self.upstream_url, "http", "https"):
            yield f"upstream_url: {fault}"
        yield from (f"nats_url: {fault}" for url in self.nats_url if (fault := url_fault(url, "nats", "tls")))
        # A waiting room shares its file of settings with stream servers, and nothing of it is theirs.
        if self.nats_credentials and not self.waiting_room and not Path(self.nats_credentials).is_file():
            yield f"nats_credentials: there is no file {self.nats_credentials}"
        redis_url = self.redis_url.get_secret_value()
        if redis_url and (fault := url_fault(redis_url, "redis", "rediss", "unix", hostless="unix")):
            yield f"redis_url: {fault}"
