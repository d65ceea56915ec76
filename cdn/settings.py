"""The settings of an edge, and the numbers that follow from them and from the stream server's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from flagstream.logs import LogFormat, LogLevel
from flagstream.settings import ProgramSettings, url_fault
from stream_server.addresses import network_fault

__all__ = ["CdnSettings"]

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_HOST = re.compile(r"[A-Za-z0-9.:-]+")
_FILE = re.compile(r'/[^"\\\x00-\x1f]*')
_MEMORY = re.compile(r"[1-9][0-9]{0,5}[mgMG]")
LARGEST_PORT = 65535
MOST_ORIGINS = 64


class CdnSettings(ProgramSettings):
    """All settings of one edge."""

    program: ClassVar[str] = "cdn"

    host: str
    port: Annotated[int, Field(ge=0, le=LARGEST_PORT)]
    origins: tuple[str, ...]
    waiting_room: str
    tiers: tuple[str, ...]
    purgers: tuple[str, ...]
    document_ttl: Annotated[float, Field(ge=0, le=86400)]
    clients: Annotated[int, Field(ge=100, le=1_000_000)]
    environments: Annotated[int, Field(ge=1, le=1_000_000)]
    document_memory: str
    drain_file: str
    varnish_name: Annotated[str, Field(min_length=1)]
    report_host: Annotated[str, Field(min_length=1)]
    report_port: Annotated[int, Field(ge=0, le=LARGEST_PORT)]
    nats_url: tuple[str, ...]
    nats_credentials: str
    log_format: LogFormat
    log_level: LogLevel

    def rules(self) -> Iterator[str]:
        """Yield what these settings get wrong."""
        yield from self._place_rules()
        yield from (f"nats_url: {fault}" for url in self.nats_url if (fault := url_fault(url, "nats", "tls")))
        if self.nats_credentials and not Path(self.nats_credentials).is_file():
            yield f"nats_credentials: there is no file {self.nats_credentials}"
        if not _HOST.fullmatch(self.host):
            yield f"host: {self.host!r} is no address or name of this machine"
        if not _FILE.fullmatch(self.drain_file):
            yield f"drain_file: {self.drain_file!r} is no absolute path without quotes and backslashes"
        if not _MEMORY.fullmatch(self.document_memory):
            yield f"document_memory: {self.document_memory!r} is no amount of memory; write it like 256m or 4g"
        for name in ("tiers", "purgers"):
            yield from (f"{name}: {fault}" for each in vars(self)[name] if (fault := network_fault(each)))

    def _place_rules(self) -> Iterator[str]:
        yield from (f"origins: {fault}" for each in self.origins if (fault := _address_fault(each)))
        if not 0 < len(self.origins) <= MOST_ORIGINS:
            yield f"origins: must be 1 to {MOST_ORIGINS} stream servers, each HOST:PORT"
        if twice := sorted({each for each in self.origins if self.origins.count(each) > 1}):
            yield f"origins: {twice[0]!r} is there more than once"
        if self.waiting_room and (fault := _address_fault(self.waiting_room)):
            yield f"waiting_room: {fault}"
        if self.waiting_room in self.origins:
            yield f"waiting_room: {self.waiting_room!r} is an origin; it is for when none answers"


def _address_fault(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match[2]) <= LARGEST_PORT:
        return f"{text!r} is not HOST:PORT, as in 10.0.0.1:8088 or [::1]:8088"
    return ""
