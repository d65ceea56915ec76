"""What `manage` and `serve` share: read the settings, report every fault, run the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer

from flagstream import logs
from flagstream.cli.failure import failure
from flagstream.settings import ProgramSettings, SettingsError, load

__all__ = ["run_program"]

S = TypeVar("S", bound=ProgramSettings)


def run_program(model: type[S], run: Callable[[S], None], options: dict[str, Any], *, check: bool) -> None:
    """Load the settings with the given command-line options over them, then `run`; `check` only shows them.

    Options that are None were not given. Faults in the settings are printed, all of them, and the status is 2.
    """
    overrides = {key: value for key, value in options.items() if value is not None}
    try:
        settings = load(model, overrides=overrides)
    except SettingsError as error:
        raise failure(*error.faults, status=2) from None
    if check:
        for key, value in settings.shown().items():
            typer.echo(f"{key} = {list(value) if isinstance(value, tuple) else value!r}")
        for remark in settings.remarks():
            typer.echo(f"# {remark}")
        return
    logs.configure(program=model.program, log_format=vars(settings)["log_format"], level=vars(settings)["log_level"])
    run(settings)
