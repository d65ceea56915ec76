"""Where a run asks for streams, and what stands there: URLs read, servers looked at before a swarm is let loose."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from loadtest.messages import Environment, Target
from loadtest.stack import Figures, StackError

__all__ = ["PreflightError", "RemoteStack", "Url", "preflight", "targets"]

_PORTS: Final = {"http": 80, "https": 443}
_CONTENT: Final = "text/event-stream"
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
ANSWERS_WITHIN: Final = 10.0


class PreflightError(Exception):
    """What a run needs is not there; the message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL in its parts; `prefix` is its path without a slash at the end."""

    host: str
    port: int
    tls: bool
    prefix: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the parts of a URL; raises ValueError with what is wrong with it."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{text!r} is not a URL: {error}") from None
        if parts.scheme not in _PORTS or not parts.hostname or port == 0:
            raise ValueError(f"{text!r} is not a URL of a server; write it like http://127.0.0.1:8088")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{text!r} has more than a server's address and a path")
        if re.search(r"[\x00-\x20\x7f-\uffff]", parts.path + parts.hostname):
            raise ValueError(f"{text!r} has characters that no URL has")
        return cls(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https", parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def targets(urls: Mapping[str, str]) -> list[Target]:
    """Return the ways in, the origin first; `urls` has at least one of ``origin`` and ``edge``."""
    read = [(name, Url.read(urls[name])) for name in ("origin", "edge") if name in urls]
    return [Target(name=name, host=url.host, port=url.port, tls=url.tls, prefix=url.prefix) for name, url in read]


@dataclass(frozen=True, slots=True)
class RemoteStack:
    """Servers that are somewhere: they can be asked for streams, and told of changes, but not be hurt."""

    urls: Mapping[str, str]
    environments: Sequence[Environment]
    publisher_url: str = ""
    """Empty: nothing is published."""
    sse_token: str = ""

    def pids(self) -> Mapping[str, Sequence[int]]:
        """Return none: they are not of this host."""
        return {}

    def troubles(self) -> Sequence[str]:
        """Return none: they may have had some, and nobody here would know."""
        return ()

    async def figures(self) -> Figures:
        """Return that nobody can tell."""
        return Figures()

    async def kill(self, part: str, down: float) -> None:  # noqa: ARG002 - the shape of a stack
        """Raise StackError."""
        raise _not_ours("kill", part)

    async def stop(self, part: str, down: float) -> None:  # noqa: ARG002 - the shape of a stack
        """Raise StackError."""
        raise _not_ours("stop", part)

    async def freeze(self, part: str, seconds: float) -> None:  # noqa: ARG002 - the shape of a stack
        """Raise StackError."""
        raise _not_ours("freeze", part)

    async def deploy(self) -> None:
        """Raise StackError."""
        raise _not_ours("deploy", "stream_server")


def _not_ours(what: str, part: str) -> StackError:
    return StackError(f"only a --local stack can be hurt ({what} {part}); elsewhere use do = 'run' with your command")


async def preflight(url: str, key: str) -> None:
    """Ask once for a stream of an environment at a target; raises `PreflightError` where none is had."""
    path = f"{url.rstrip('/')}/sse/environments/{key}/stream"
    async with _client() as client:
        try:
            async with client.stream("GET", path, headers={"Accept": _CONTENT}) as response:
                content = response.headers.get("content-type", "none")
                if response.is_redirect:
                    to = response.headers.get("location", "elsewhere")
                    raise PreflightError(f"{url} leads to {to} (status {response.status_code}); give the URL behind it")
                if response.status_code != httpx.codes.OK:
                    raise PreflightError(
                        f"{url} answers a stream with status {response.status_code}; is it a stream server, and the "
                        "environment's key a client-side one?"
                    )
                if content.partition(";")[0].strip().lower() != _CONTENT:
                    raise PreflightError(
                        f"{url} answers, but not with an event stream: its content type is {content}; "
                        "give the URL of a stream server or of an edge before one"
                    )
        except httpx.HTTPError as error:
            raise PreflightError(_unreachable(url, error)) from None


async def preflight_publishing(url: str, token: str, key: str) -> None:
    """Post what changes nothing to queue-change; raises `PreflightError` where no change could be announced."""
    if not token:
        raise PreflightError(
            f"to publish at {url} a token is needed: give --token, or FLAGSTREAM_SSE_TOKEN, the publisher's sse_token"
        )
    if not _TOKEN.fullmatch(token):  # nor is it to be in what a client says of it, which the results would have
        raise PreflightError("--token has characters that no token has; copy it again")
    path = f"{url.rstrip('/')}/sse/environments/{key}/queue-change"
    async with _client() as client:
        try:
            response = await client.post(path, headers={"Authorization": f"Token {token}"}, json={})
        except httpx.HTTPError as error:
            raise PreflightError(_unreachable(url, error)) from None
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise PreflightError(f"the publisher at {url} refuses this token; give its sse_token with --token")
    if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED}:
        raise PreflightError(f"{url} has no queue-change (status {response.status_code}); give the publisher's URL")
    if response.is_server_error:
        raise PreflightError(f"the publisher at {url} fails (status {response.status_code})")
    if response.is_redirect:
        to = response.headers.get("location", "elsewhere")
        raise PreflightError(f"{url} leads to {to} (status {response.status_code}); give the publisher's own URL")
    if response.headers.get("content-type", "").lower().startswith("text/html"):
        raise PreflightError(f"{url} answers queue-change with a page (text/html); give the publisher's URL")


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=ANSWERS_WITHIN,
        trust_env=False,
        verify=ssl.create_default_context(),  # as the clients have it; httpx brings a list of its own
        headers={"User-Agent": "flagstream-loadtest"},
    )


def _unreachable(url: str, error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"{url} does not answer within {ANSWERS_WITHIN:g} s"
    causes, cause = [], error.__cause__ or error.__context__
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = str(error) or type(error).__name__
    if any(isinstance(each, ssl.SSLError) for each in causes) or "SSL" in text:
        return f"{url} does not speak TLS as this machine trusts it: {text}"
    if "Name or service not known" in text or "No address" in text or "name resolution" in text:
        return f"the name in {url} cannot be resolved: {text}"
    if any(isinstance(each, ConnectionRefusedError) for each in causes) or "All connection attempts failed" in text:
        return f"{url} refuses connections; is the server running?"
    return f"{url} does not answer as HTTP servers do: {text}"
