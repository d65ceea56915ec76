"""`flagstream watch`: print the changes of an environment's flags as they come."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flagstream.cli.data_folder import running_stack
from flagstream.cli.failure import failure
from sdk_client import Change, ConfigurationError, End, Flag, FlagClient, Hooks, KeyRefusedError, StreamOpened

__all__ = ["watch"]

DEFAULT_URL = "http://127.0.0.1:8088"
INTERRUPTED = 128 + signal.SIGINT


def watch(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="The environment's key: client-side, or server-side (ser.…).")
    ],
    api_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="FLAGSTREAM_API_URL",
            help=f"Where flag documents come from; else the running flagstream up's stream server, else {DEFAULT_URL}.",
        ),
    ] = None,
    stream_url: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="FLAGSTREAM_STREAM_URL", help="Where streams come from; else --api-url."),
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this feature; may be given more than once.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The data folder of the flagstream up to watch.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each change as one line of JSON.")] = False,
) -> None:
    """Print every change of an environment's flags as it comes: time, feature, state, old → new value, version.

    Runs until Ctrl-C. While a server is away it says so on stderr and keeps trying.
    """
    stack = running_stack(data) or {}
    api_url = api_url or str(stack.get("edge") or stack.get("stream") or DEFAULT_URL)
    _show_client_log()
    # A shell starts background jobs with SIGINT ignored; whoever sends it to one all the same means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # asyncio.run turns the first Ctrl-C into a cancellation, so the stream is closed before we leave.
        asyncio.run(_watch(key, api_url, stream_url, frozenset(feature or ()), as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except asyncio.CancelledError:  # SIGTERM: somebody wants us to stop, and we did
        raise typer.Exit(0) from None
    except ConfigurationError as error:
        option = error.argument.replace("environment_key", "KEY").replace("_url", "-url")
        name = option if option == "KEY" else f"--{option}"
        raise failure(str(error).replace(error.argument, name, 1), status=2) from None
    except KeyRefusedError:
        raise failure(f"{api_url} does not know the environment key {key!r}; copy it from the dashboard") from None
    except BrokenPipeError:  # the reader has gone, as in `flagstream watch KEY | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it flushes
        raise typer.Exit(0) from None


async def _watch(key: str, api_url: str, stream_url: str | None, features: frozenset[str], *, as_json: bool) -> None:
    hooks = _Streams()
    client = FlagClient(environment_key=key, api_url=api_url, stream_url=stream_url, require_ready=False, hooks=hooks)
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with client:
        changes = client.changes()
        await client.wait_until_ready()
        _say(_greeting(client, features, api_url))
        async for change in changes:
            if not features or change.feature in features:
                sys.stdout.write((_json_line if as_json else _line)(change, datetime.now(UTC)) + "\n")
                sys.stdout.flush()


class _Streams(Hooks):
    """Says at once that there is a stream again: the client's own log waits until one has lasted."""

    def __init__(self) -> None:
        self._live = 0
        self._failed = False

    def on_stream_opened(self, stream: StreamOpened) -> None:  # noqa: ARG002 - that it opened is enough
        if self._failed and not self._live:
            _say("there is a stream again")
        self._live += 1
        self._failed = False

    def on_stream_ended(self, end: End) -> None:
        self._live -= end.lived > 0
        self._failed = self._failed or end.is_error


def _greeting(client: FlagClient, features: frozenset[str], api_url: str) -> str:
    count = len(client.flags)
    missing = sorted(features - client.flags.keys())
    known = f"watching {count} {'feature' if count == 1 else 'features'} at {api_url}, Ctrl-C to stop"
    return known if not missing else f"{known}; not there (yet): {', '.join(missing)}"


def _line(change: Change, now: datetime) -> str:
    time = now.astimezone().strftime("%H:%M:%S.%f")[:-3]
    state = _step("" if change.old is None else _state(change.old), _state(change.new))
    value = _step(_shown(change.old), _shown(change.new or change.old))
    return f"{time}  {change.feature}  {state}  {value}  {change.version}"


def _step(old: str, new: str) -> str:
    return new if old in {new, ""} else f"{old} → {new}"


def _state(flag: Flag | None) -> str:
    return "gone" if flag is None else "on" if flag.enabled else "off"


def _shown(flag: Flag | None) -> str:
    return "" if flag is None else json.dumps(flag.value, ensure_ascii=False)


def _json_line(change: Change, now: datetime) -> str:
    return json.dumps(
        {
            "time": now.isoformat(timespec="microseconds"),
            "feature": change.feature,
            "enabled": change.enabled,
            "old_enabled": change.old_enabled,
            "value": change.value,
            "old_value": change.old_value,
            "version": change.version,
        }
    )


def _say(sentence: str) -> None:
    typer.echo(f"flagstream: {sentence}", err=True)


def _show_client_log() -> None:
    """Let the client say on stderr, in its own words, what does not work and what works again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("flagstream: %(message)s"))
    log = logging.getLogger("sdk_client")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
