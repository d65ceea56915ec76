"""What a client is given, checked by type and range before it starts: a ConfigurationError names what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, Final

import httpx

from sdk_client.errors import ConfigurationError, shown
from sdk_client.hooks import Hooks
from sdk_client.reconnect import Backoff

__all__ = ["check_kinds", "check_poll_interval", "check_seconds", "check_switches", "hooks_of"]

MAX_SECONDS: Final = 1e9
"""Thirty years; not much further on, timers and locks raise OverflowError."""

LEAST_POLL: Final = 0.1
"""Seconds; without an end to it, a slip of the unit makes a storm of requests and takes a whole processor."""


def check_switches(**given: Any) -> None:
    """Raise unless each argument is True or False: the text "false" would count as true."""
    for argument, switch in given.items():
        if not isinstance(switch, bool):
            raise ConfigurationError(argument, f"must be True or False, not {shown(switch)}")


def check_seconds(*, or_zero: bool = False, **given: Any) -> None:
    """Raise unless each argument is a number of seconds, above 0 or, with `or_zero`, 0 too."""
    for argument, seconds in given.items():
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ConfigurationError(argument, f"must be a number of seconds, not {shown(seconds)}")
        if or_zero and not seconds >= 0:  # nan too
            raise ConfigurationError(argument, "must be 0 seconds or more")
        if not or_zero and not seconds > 0:
            raise ConfigurationError(argument, "must be above 0 seconds")
        if seconds > MAX_SECONDS:
            raise ConfigurationError(argument, f"must be at most {MAX_SECONDS:.0f} seconds")


def check_poll_interval(seconds: Any, *, streaming: bool) -> None:
    """Raise unless flags may be polled every so many seconds; 0 is never, which leaves nothing without streams."""
    check_seconds(or_zero=True, poll_interval=seconds)
    if not streaming and not seconds:
        raise ConfigurationError("poll_interval", "must be above 0 seconds where streaming is off")
    if 0 < seconds < LEAST_POLL:
        raise ConfigurationError("poll_interval", f"must be 0 for never, or at least {LEAST_POLL} seconds")


def check_kinds(*, backoff: Any, http: Any, random: Any) -> None:
    """Raise unless each argument is None or of its kind."""
    kinds: tuple[tuple[str, Any, type], ...] = (
        ("backoff", backoff, Backoff),
        ("http", http, httpx.AsyncClient),
        ("random", random, Random),
    )
    for argument, given, kind in kinds:
        if given is not None and not isinstance(given, kind):
            name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
            raise ConfigurationError(argument, f"must be of {name}, not {shown(given)}")


def hooks_of(given: Any, argument: str = "hooks") -> list[Hooks]:
    """Return one `Hooks`, or several, as a list."""
    hooks: list[Hooks] = [given] if isinstance(given, Hooks) else [*given] if isinstance(given, Iterable) else []
    if not (isinstance(given, Iterable) or hooks) or not all(isinstance(each, Hooks) for each in hooks):
        raise ConfigurationError(argument, f"must be Hooks, or several of them in a list, not {shown(given)}")
    return hooks
