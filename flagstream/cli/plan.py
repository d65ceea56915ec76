"""`flagstream plan`: what a fleet takes and costs, by simulation."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from flagstream.cli.failure import failure
from flagstream.cli.loadtest.writing import STDOUT, check_distinct, check_writable, write_atomically

if TYPE_CHECKING:
    from loadtest.plan.settings import Plan

__all__ = ["plan"]

NUMPY: Final = "flagstream plan simulates in arrays and needs numpy: pip install 'flagstream[loadtest]'"


def plan(
    file: Annotated[
        Path | None, typer.Argument(help="A plan in TOML (docs/planning.md); what it leaves out, or all, are defaults.")
    ] = None,
    clients: Annotated[int | None, typer.Option(help="How many clients.")] = None,
    environments: Annotated[int | None, typer.Option(help="How many environments they belong to.")] = None,
    mix: Annotated[
        list[str] | None, typer.Option(help="MODEL=SHARE of one kind of client; once for each kind.")
    ] = None,
    lifetime: Annotated[float | None, typer.Option(help="Seconds that a stream lives.")] = None,
    join_window: Annotated[float | None, typer.Option(help="Seconds in which an edge lets others join it.")] = None,
    heartbeat: Annotated[float | None, typer.Option(help="Seconds between heartbeats.")] = None,
    changes: Annotated[float | None, typer.Option(help="Changes of an environment an hour.")] = None,
    edge: Annotated[bool | None, typer.Option("--edge/--direct", help="Through an edge, or to the origin.")] = None,
    shield: Annotated[str | None, typer.Option(help="A tier in front of the origin: none, region or one.")] = None,
    processes: Annotated[int | None, typer.Option(help="Stream-server processes; 0: as many as needed.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long is simulated; else past the last failure.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of chance: the same seed gives the same figures.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Results of a load test: simulate what it was, and compare.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all of it here; - is standard output.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here that loads nothing from elsewhere.")] = None,
) -> None:
    """Say how many streams, opens, machines and dollars a fleet of clients takes, and what its failures look like.

    It simulates each client as its SDK behaves; nothing is connected to.
    """
    from loadtest.plan.reading import PlanError, read  # noqa: PLC0415 - each command loads only what it runs

    check_distinct(**{"--json": json, "--html": html})
    for path, option in ((json, "--json"), (html, "--html")):
        check_writable(path, option)
    try:
        importlib.import_module("numpy")
    except ImportError:
        raise failure(NUMPY) from None
    given = {
        "clients.count": clients,
        "clients.mix": _mix(mix) if mix else None,
        "environments.count": environments,
        "streams.lifetime": lifetime,
        "streams.join_window": join_window,
        "streams.heartbeat": heartbeat,
        "changes.per_environment_per_hour": changes,
        "edge.on": edge,
        "edge.shield": shield,
        "origin.processes": processes,
        "run.seconds": seconds,
        "run.seed": seed,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    if against is not None and (file is not None or overrides):
        raise failure("--against simulates what its results were: leave out the plan and its options", status=2)
    try:
        _show(None if against else read(file, overrides), against, json, html)
    except PlanError as error:
        raise failure(*error.faults, status=2) from None


def _mix(given: list[str]) -> list[dict[str, Any]]:
    mix = []
    for each in given:
        model, _, share = each.partition("=")
        try:
            mix.append({"model": model, "share": float(share or 1)})
        except ValueError:
            raise failure(f"--mix {each}: say MODEL=SHARE, as flagsmith-js=40", status=2) from None
    return mix


def _show(plan: Plan | None, against: Path | None, json: Path | None, html: Path | None) -> None:
    # Here, because they need numpy.
    from loadtest.plan.against import compared  # noqa: PLC0415
    from loadtest.plan.likeness import UnlikeError  # noqa: PLC0415
    from loadtest.plan.outcome import written  # noqa: PLC0415
    from loadtest.plan.page import page  # noqa: PLC0415
    from loadtest.plan.planning import played  # noqa: PLC0415
    from loadtest.plan.words import happens, takes  # noqa: PLC0415
    from loadtest.results import read as read_results  # noqa: PLC0415

    comparison = None
    if plan is not None:
        outcome = played(plan)
    else:
        assert against is not None  # noqa: S101 - one of both is given
        try:
            comparison = compared(read_results(against))
        except OSError as error:
            raise failure(f"{against} cannot be read: {error.strerror or error}", status=2) from None
        except UnlikeError as error:
            raise failure(f"{against}: {error}", status=2) from None
        except ValueError as error:
            raise failure(str(error), status=2) from None
        outcome = comparison.outcome
    console = Console(stderr=json == STDOUT)
    for rows in [comparison.rows()] if comparison else [*happens(outcome), *takes(outcome)]:
        shown = Table(title=rows.title, title_justify="left", caption=rows.about or None, caption_justify="left")
        for number, column in enumerate(rows.columns):
            shown.add_column(column, justify="right" if number and not rows.prose else "left", overflow="fold")
        for row in rows.rows:
            shown.add_row(*row)
        console.print(shown)
    for note in comparison.notes if comparison else outcome.notes:
        console.print(note)
    if json:
        write_atomically(json, written(outcome))
    if html:
        write_atomically(html, page(outcome, comparison))
