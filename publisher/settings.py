"""Settings of the publisher; `default.toml` beside this file states the defaults and what each one is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from flagstream.logs import LogFormat, LogLevel
from flagstream.settings import ProgramSettings, url_fault

__all__ = ["PublisherSettings"]

Seconds = Annotated[float, Field(gt=0, le=86400 * 365)]

_SERVICE = re.compile(r"[A-Za-z0-9]{1,64}")
_TOKEN = re.compile(r"[!-~]*")  # what a header can carry


class PublisherSettings(ProgramSettings):
    """All settings of one publisher process."""

    program: ClassVar[str] = "publisher"

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    workers: Annotated[int, Field(ge=1, le=256)]
    database_url: str
    nats_url: Annotated[tuple[str, ...], Field(min_length=1)]
    nats_credentials: str
    nats_replicas: Annotated[int, Field(ge=1, le=5)]
    admin_token: SecretStr
    sse_token: SecretStr
    public_stream_url: str
    session_lifetime: Seconds
    max_body_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)]
    reconcile_interval: Seconds
    drain: Annotated[float, Field(ge=0, le=3600)]
    purge_urls: Annotated[tuple[str, ...], Field(max_length=64)]
    fastly_service: str
    fastly_token: SecretStr
    fastly_url: str
    purge_lead: Annotated[float, Field(ge=0, le=10)]
    purge_tiers: Annotated[int, Field(ge=1, le=4)]
    purge_patience: Annotated[float, Field(ge=0.1, le=60)]
    purge_again: Annotated[float, Field(ge=0, le=3600)]
    log_format: LogFormat
    log_level: LogLevel

    def rules(self) -> Iterator[str]:
        """Yield what these settings get wrong together."""
        if not self.database_url.startswith("sqlite:///"):
            if not self.database_url.startswith("postgresql://"):
                yield "database_url: must begin with sqlite:/// or postgresql://"
            elif fault := url_fault(self.database_url, "postgresql", hostless="postgresql"):
                yield f"database_url: {fault}"
        yield from (f"nats_url: {fault}" for url in self.nats_url if (fault := url_fault(url, "nats", "tls")))
        if self.nats_credentials and not Path(self.nats_credentials).is_file():
            yield f"nats_credentials: there is no file {self.nats_credentials}"
        if fault := url_fault(self.public_stream_url, "http", "https"):
            yield f"public_stream_url: {fault}"
        if self.admin_token.get_secret_value() and (
            self.admin_token.get_secret_value() == self.sse_token.get_secret_value()
        ):
            yield "admin_token and sse_token: must differ, the second opens much less"
        yield from self._purge_rules()

    def _purge_rules(self) -> Iterator[str]:
        for url in self.purge_urls:
            if fault := url_fault(url, "http", "https"):
                yield f"purge_urls: {fault}"
            elif urlsplit(url).path.strip("/") or urlsplit(url).query or urlsplit(url).username:
                yield "purge_urls: must be addresses without anything else, like http://10.0.0.1:8080"
        if fault := url_fault(self.fastly_url, "http", "https"):
            yield f"fastly_url: {fault}"
        if bool(self.fastly_service) != bool(self.fastly_token.get_secret_value()):
            yield "fastly_service and fastly_token: give both, or none of them to purge no Fastly service"
        if self.fastly_service and not _SERVICE.fullmatch(self.fastly_service):
            yield "fastly_service: must be the id of a service: letters and digits"
        if not _TOKEN.fullmatch(self.fastly_token.get_secret_value()):
            yield "fastly_token: has a character that no token has"
