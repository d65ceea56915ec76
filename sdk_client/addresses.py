"""Where things are: URLs, checked before anything is started."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

import httpx

from sdk_client.errors import ConfigurationError

__all__ = ["Addresses"]

_API: Final = "/api/v1"
_PORTS: Final = 2**16
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%[^\[\]]+)?")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The two servers, without a trailing slash; often they are one."""

    api: str
    stream: str

    @classmethod
    def of(cls, api_url: str, stream_url: str | None) -> Self:
        """Check and normalise; `api_url` may end in ``/api/v1/``, as Flagsmith's SDKs want it."""
        api = _base(api_url, "api_url").removesuffix(_API)
        return cls(api=api, stream=api if stream_url is None else _base(stream_url, "stream_url"))

    @property
    def flags(self) -> str:
        """The flags document."""
        return f"{self.api}{_API}/flags/"

    @property
    def environment_document(self) -> str:
        """The environment document, for server keys."""
        return f"{self.api}{_API}/environment-document/"

    def stream_of(self, client_key: str) -> str:
        """Return the stream of one environment."""
        return f"{self.stream}/sse/environments/{client_key}/stream"


def _base(url: str, argument: str) -> str:
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
        name = parsed.raw_host.decode()
        name.encode("idna")  # as it is when a name server is asked, to which labels of 70 characters are an error
    except (httpx.InvalidURL, TypeError, ValueError):  # what is no IDNA is a ValueError
        raise ConfigurationError(argument, "is not a URL") from None
    if parsed.scheme not in ("http", "https") or not host:
        raise ConfigurationError(argument, "must begin with http:// or https:// and name a host")
    if not _HOST.fullmatch(name):
        raise ConfigurationError(argument, "names a host that cannot be one")
    if port is not None and not 0 < port < _PORTS:
        raise ConfigurationError(argument, "must have a port from 1 to 65535, or none")
    if parsed.query or parsed.fragment:
        raise ConfigurationError(argument, "must have neither a query nor a fragment")
    return str(parsed).rstrip("/")
