"""One self-contained HTML document with plots: what every report of the load test and the planner is made as.

How to make one: render a body from a template of your own, which may take macros from ``parts.html``, and hand it over
with the plots that it has places for::

    plots = [Plot(id="open", title="Streams open", x=hours, x_unit="s", lines=[Line("origin", streams)], sync="time")]
    body = templates(FOLDER).get_template("plan.html").render(plots={plot.id: plot for plot in plots}, …)
    return document("A plan", Markup(body), plots)

and in the template ``{% import "parts.html" as parts %}`` … ``{{ parts.figure(plots.open) }}``. Macros: ``tile`` (a
headline figure), ``figure`` (a plot's place; nothing at all for a plot without values), ``zoom`` (buttons that zoom
all plots of a ``sync`` to their marks), ``rows`` (names and values).

Nothing is loaded from anywhere: the Content-Security-Policy forbids it and lets run only the script that it knows the
hash of, so markup in a title or an error that came through would stay dead.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from markupsafe import Markup

from loadtest.report.plots import Plot, data
from loadtest.report.templating import templates

__all__ = ["document"]

HERE = Path(__file__).parent


def document(title: str, body: Markup, plots: Sequence[Plot] = ()) -> bytes:
    """Return the HTML, UTF-8, of a document whose `body` is markup already and whose `title` is not.

    Ids of plots must differ; raises ValueError where they do not, or where a line is not as long as its plot's x.
    """
    ids = [plot.id for plot in plots]
    if len(set(ids)) < len(ids):
        raise ValueError(f"ids of plots must differ: {', '.join(ids)}")
    style = _asset("vendor/uPlot.min.css") + _asset("assets/page.css")
    script = _asset("vendor/uPlot.iife.min.js") + _asset("assets/plots.js")
    policy = (
        f"default-src 'none'; style-src {_hashed(style)}; script-src {_hashed(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = (
        templates()
        .get_template("document.html")
        .render(
            title=title,
            body=body,
            policy=policy,
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - the same
            data=Markup(data(plots).decode()),  # noqa: S704 - escaped there
        )
    )
    return page.encode("utf-8", "replace")


@cache
def _asset(name: str) -> str:
    return (HERE / name).read_text("utf-8").strip() + "\n"


def _hashed(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
