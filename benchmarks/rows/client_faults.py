"""Clients side by side in one fault script: ours, Flagsmith's published ones, and a browser's own EventSource."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from benchmarks.faulty.conducting import Outcome, conduct
from benchmarks.faulty.contenders import CONTENDERS, OURS, TURNS
from benchmarks.faulty.phases import PATIENCE, PHASES, SECONDS, Phase
from benchmarks.faulty.world import HEARTBEAT
from benchmarks.processes import EndedError
from benchmarks.results import Table
from benchmarks.rows.field import temporary
from benchmarks.servers_under_test import NotInstalledError

__all__ = ["faults", "newest", "side_by_side"]

QUICK: Final = ("all well", "503", "instant end", "documents fail for 3 s")
RATE: Final = 8
"""Requests of ours in one second, at the most: 4 changes are the most of a second, 2 openings are 1 s apart."""


def faults(*, only: Sequence[str] = tuple(CONTENDERS), quick: bool = False) -> Table:
    """Put each client through the same fault script and count its requests, its time behind the truth, its losses."""
    phases = [phase for phase in PHASES if not quick or phase.name in QUICK]
    lacking = {name: need for name in only if (need := CONTENDERS[name].needs()) is not None}
    turns = [[name for name in turn if name in only and name not in lacking] for turn in TURNS]
    for name, need in lacking.items():
        print(f"left out: {name}, which needs {need}")
    if not any(turns):
        raise NotInstalledError("none of the clients is installed")
    began = time.monotonic()
    faults: list[str] = []
    outcomes: list[Outcome] = []
    with temporary() as folder:
        for turn in turns:
            outcomes += asyncio.run(_turn(turn, phases, folder, faults))
    return Table(
        row="client-faults",
        title="Clients side by side in one fault script",
        conditions={
            "phase_s": SECONDS,
            "heartbeat_s": HEARTBEAT,
            "patience_s": PATIENCE,
            "ours": "heartbeat=1 poll_interval=4, the others as they come",
            "took_s": time.monotonic() - began,
            **({"left_out": ", ".join(lacking)} if lacking else {}),
        },
        columns=[field.name for field in fields(Outcome)],
        lines=[asdict(outcome) for outcome in outcomes],
        target=f"ours: never deaf, nothing missed, at most {RATE} requests in a second",
        faults=[*faults, *_faults_of_ours(outcomes)],
    )


async def _turn(names: Sequence[str], phases: Sequence[Phase], folder: Path, faults: list[str]) -> list[Outcome]:
    """Run some clients at the same time; one that does not start is a fault, not the end of the others."""
    alone = asyncio.Lock()
    played = await asyncio.gather(
        *(conduct(CONTENDERS[name], phases, folder, alone) for name in names), return_exceptions=True
    )
    outcomes: list[Outcome] = []
    for each in played:
        if isinstance(each, EndedError):
            faults.append(str(each))
        elif isinstance(each, BaseException):
            raise each
        else:
            outcomes += each
    return outcomes


def _faults_of_ours(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{each.client}, {each.phase}: {each.fate}, missed {each.missed}, {each.a_second} requests in a second"
        for each in outcomes
        if each.client in OURS and (each.fate != "alive" or each.missed or each.a_second > RATE)
    ]


def newest(runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines of each client's newest run, clients in the order of their first; `runs` are oldest first."""
    by_client: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        lines: dict[str, list[Mapping[str, Any]]] = {}
        for line in run["lines"]:
            lines.setdefault(line["client"], []).append(line)
        by_client |= lines
    return [line for lines in by_client.values() for line in lines]


def side_by_side(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the lines of a run as one table in Markdown: phases down, clients across, and sums below.

    A cell holds the requests made while the fault lasted, the seconds behind the truth, and what was lost.
    """
    outcomes = [Outcome(**line) for line in lines]
    clients = list(dict.fromkeys(each.client for each in outcomes))
    by_place = {(each.phase, each.client): each for each in outcomes}
    rows = [["", *clients], ["---"] * (len(clients) + 1)]
    for phase in dict.fromkeys(each.phase for each in outcomes):
        cells = (by_place.get((phase, client)) for client in clients)
        rows.append([phase, *("–" if cell is None else _cell(cell) for cell in cells)])
    for name, total in _TOTALS.items():
        rows.append([name, *(total([each for each in outcomes if each.client == client]) for client in clients)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(outcome: Outcome) -> str:
    requests = f"{_requests(outcome):,}"
    lost = f" · {outcome.missed} missed" if outcome.missed else ""
    fate = f" · **{outcome.fate}**" if outcome.fate != "alive" else ""
    return f"{requests} · {outcome.stale_s:.1f} s{lost}{fate}"


def _requests(outcome: Outcome) -> int:
    return outcome.streams + outcome.documents + outcome.refused


_TOTALS: Final[Mapping[str, Callable[[Sequence[Outcome]], str]]] = {
    "**requests**": lambda each: f"{sum(_requests(one) for one in each):,}",
    "**most in one second**": lambda each: f"{max((one.a_second for one in each), default=0):,}",
    "**seconds stale**": lambda each: f"{sum(one.stale_s for one in each):.1f}",
    "**changes missed**": lambda each: str(sum(one.missed for one in each)),
    "**deaf or dead after**": lambda each: f"{sum(one.fate != 'alive' for one in each)} of {len(each)} phases",
    "**CPU s**": lambda each: f"{sum(one.cpu_s for one in each):.1f}",
}
