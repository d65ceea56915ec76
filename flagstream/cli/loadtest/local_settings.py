"""The environment that the programs of a local stack are started in: a run is what its scenario says, nothing else."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flagstream.settings import SettingsError, load
from loadtest.scenario.schema import Local

__all__ = ["drain_of", "environ_of"]

PREFIXES: Final = ("PUBLISHER_", "STREAM_SERVER_", "CDN_", "FLAGSTREAM_")
"""Of whoever starts the run: what of it applied would be in no report."""

ELSEWHERE: Final = {
    "workers": "give local.workers",
    "edge": "give local.edge",
    "redis_url": "give local.redis",
    "supervised": "it always is, so that it can be deployed",
    "tls_certificate": "a local stack serves plain HTTP",
    "tls_key": "a local stack serves plain HTTP",
    **dict.fromkeys(("waiting_room", "waiting_for", "edge_guard"), "the stack has a waiting room where it has an edge"),
    **dict.fromkeys(("host", "port", "nats_url", "nats_credentials", "upstream_url"), "the stack chooses it"),
}
"""Settings that are not the scenario's, and why."""

MARGIN: Final = 5.0
"""Seconds that a drain is longer than a lifetime, so that streams reach their own end."""

FEWEST: Final = 100
"""Clients and environments that an edge is made for at least."""

EDGE_FILES: Final = 500
"""Descriptors of Varnish that are no client's and no environment's."""

STREAMS_OF_AN_ENVIRONMENT: Final = 4
"""That an edge may have open at once: two at the origin, two in the waiting room."""

_VARIABLE = re.compile(r"STREAM_SERVER_([A-Z_]+)")


def environ_of(local: Local, environ: Mapping[str, str], *, clients: int, environments: int) -> dict[str, str]:
    """Return the environment for a stack with `clients` through its edge; raises SettingsError with every fault."""
    faults = list(_faults(local))
    if local.edge != "none":
        faults.extend(_edge_faults(clients, environments))
    kept = {name: value for name, value in environ.items() if not name.startswith(PREFIXES)}
    given = {f"STREAM_SERVER_{name.upper()}": _text(value) for name, value in local.settings.items()}
    made = {
        **kept,
        **given,
        "STREAM_SERVER_SUPERVISED": "true",
        "STREAM_SERVER_WORKERS": str(local.workers),
        "STREAM_SERVER_EDGE": _text(local.edge != "none"),
        "CDN_CLIENTS": str(max(clients, FEWEST)),
        "CDN_ENVIRONMENTS": str(max(environments, FEWEST)),
    }
    if not faults:
        faults.extend(_VARIABLE.sub(_named, fault) for fault in _complete(made))
    if faults:
        raise SettingsError(faults)
    return made


def drain_of(environ: Mapping[str, str]) -> float:
    """Return the seconds that a stopping stream server lets its streams live."""
    from stream_server.settings import StreamServerSettings  # noqa: PLC0415 - each command loads only what it needs

    return load(StreamServerSettings, environ=environ).drain


def _complete(environ: dict[str, str]) -> list[str]:
    """Add a drain that no stream is cut by, where the scenario gives none; return what is wrong with the settings."""
    from stream_server.settings import StreamServerSettings  # noqa: PLC0415 - each command loads only what it needs

    try:
        if "STREAM_SERVER_DRAIN" not in environ:
            # Whatever the lifetime is, a longer drain than that is no fault.
            settings = load(StreamServerSettings, environ={**environ, "STREAM_SERVER_DRAIN": "86400"})
            environ["STREAM_SERVER_DRAIN"] = f"{min(settings.lifetime + MARGIN, 86400):g}"
        load(StreamServerSettings, environ=environ)
    except SettingsError as error:
        return error.faults
    return []


def _faults(local: Local) -> Iterator[str]:
    for name, value in local.settings.items():
        if name in ELSEWHERE:
            yield f"local.settings.{name} is not for a scenario to set: {ELSEWHERE[name]}"
        elif not name or name != name.lower():
            yield f"local.settings.{name} is not a setting; they are written in small letters"
        elif isinstance(value, list) and any("," in str(each) for each in value):
            yield f"local.settings.{name}: an entry of a list cannot have a comma"
        elif not isinstance(value, str | int | float | list):
            yield f"local.settings.{name}: must be text, a number, true, false or a list"


def _edge_faults(clients: int, environments: int) -> Iterator[str]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + STREAMS_OF_AN_ENVIRONMENT * environments + EDGE_FILES
    if hard != resource.RLIM_INFINITY and needed > hard:
        yield (
            f"{clients} clients of {environments} environments are too many for one Varnish here: it needs {needed} "
            f"open files and the hard limit is {hard}; take fewer, or raise it by `ulimit -Hn {needed}`"
        )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _named(variable: re.Match[str]) -> str:
    return f"local.settings.{variable[1].lower()}"
