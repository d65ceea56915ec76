"""The report of one run: a self-contained HTML page, verdict first."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from loadtest.report import figures
from loadtest.report.curves import curves
from loadtest.report.distributions import distributions
from loadtest.report.document import document
from loadtest.report.faults import all_back
from loadtest.report.gist import gist, not_current
from loadtest.report.notices import notices
from loadtest.report.templating import NO_BREAK, templates
from loadtest.report.toml_text import toml_text
from loadtest.report.ways import ways
from loadtest.results import Results

__all__ = ["facts", "written"]


def written(results: Results) -> bytes:
    """Return the page of a run, UTF-8; nothing in the results is taken for markup."""
    over_time, per = curves(results)
    plots = [*over_time, *distributions(results)]
    body = (
        templates()
        .get_template("run.html")
        .render(
            results=results,
            over_time=over_time,
            plots={plot.id: plot for plot in plots},
            per=per,
            gist=gist(results),
            notices=notices(results),
            not_current=not_current(results),
            by_group=_by_group(results),
            ways=ways(results),
            back={fault.number: all_back(results, fault) for fault in results.faults},
            errors=_errors(results),
            scenario=toml_text(results.scenario) if results.scenario else "",
            moment=dict(facts({name: results.provenance.get(name) for name in ("moment", "command")})),
            provenance=_sections(results.provenance),
        )
    )
    return document(f"{results.title or results.name}: {results.verdict}", Markup(body), plots)  # noqa: S704 - escaped by its template


def _by_group(results: Results) -> str:
    """Return the slowest deliveries of each of a few groups, so that one that is slow on purpose hides no other."""
    found = [group for group in results.groups if group.delivery.count]
    if not 2 <= len(found) <= 3:  # noqa: PLR2004 - more than a tile has room for
        return ""
    slowest = [(group.name, figures.ms(group.delivery.p99_ms)) for group in found]
    return ", ".join(f"{name} {told.replace(' ', NO_BREAK)}" for name, told in slowest)


def _errors(results: Results) -> list[tuple[str, str, int]]:
    """Return what failed, where and how often: the most frequent first."""
    found = [
        (what, where, times)
        for where, errors in (
            ("clients", results.errors),
            ("publishing", results.publishing.errors),
            ("the generator itself", results.generator.errors),
        )
        for what, times in errors.items()
        if times
    ]
    return sorted(found, key=lambda error: -error[2])


def _sections(provenance: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what has no table of its own, then each table, with its name."""
    plain = {name: value for name, value in provenance.items() if not isinstance(value, Mapping)}
    tables = {name: value for name, value in provenance.items() if isinstance(value, Mapping)}
    sections = [("run", list(facts(plain))), *((name, list(facts(value))) for name, value in tables.items())]
    return [(name, rows) for name, rows in sections if rows]


def facts(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names and values of nested tables, names joined by dots and lists as a shell has them."""
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from facts(value, f"{path}.")
        elif isinstance(value, list | tuple):
            yield path, shlex.join(str(each) for each in value)
        else:
            yield path, _told(value)


def _told(value: object) -> str:
    """Return one value; truths as TOML and the environment have them."""
    if value is None:
        return figures.NONE
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
