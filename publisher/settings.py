"""Settings of the publisher; `default.toml` beside this file states the defaults and what each one is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr

from flagstream.logs import LogFormat, LogLevel
from flagstream.settings import ProgramSettings, url_fault

__all__ = ["PublisherSettings"]

Seconds = Annotated[float, Field(gt=0, le=86400 * 365)]


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
