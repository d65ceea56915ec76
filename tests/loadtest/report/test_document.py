"""The frame of every report: one file that loads nothing and lets nothing run but its own script."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup

import loadtest.report
from loadtest.report.document import document
from loadtest.report.page import written
from loadtest.report.plots import Line, Plot
from loadtest.report.templating import templates
from loadtest.results import Results

REPORT = Path(loadtest.report.__file__).parent


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text of scripts and styles."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - its base has it
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.inline:
            self.inline[self._inside].append(data)


def test_vendored_files_are_those_that_the_list_says() -> None:
    listed = dict(re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", (REPORT / "vendor/README.md").read_text()))
    there = {file.name for file in (REPORT / "vendor").iterdir()} - {"README.md"}
    assert set(listed) == there
    for name, digest in listed.items():
        assert hashlib.sha256((REPORT / "vendor" / name).read_bytes()).hexdigest() == digest, name
    version = re.search(r"uPlot\]\(\S+\) (\d+\.\d+\.\d+), MIT", (REPORT / "vendor/README.md").read_text())
    assert version is not None
    assert f"(v{version[1]})" in (REPORT / "vendor/uPlot.iife.min.js").read_text()


def test_a_page_has_nothing_that_would_be_fetched(run: Results) -> None:
    page = written(run)
    for tag, attributes in Elements(page).tags:
        assert tag not in {"iframe", "img", "object", "embed", "base", "form", "video", "audio"}
        assert not {"src", "srcset", "style", "action", "data"} & set(attributes), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        link = attributes.get("href")
        assert link is None or link.startswith(("#", "data:image/svg+xml,")), (tag, attributes)
    style = (REPORT / "assets/page.css").read_text() + (REPORT / "vendor/uPlot.min.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_forbids_all_but_the_pages_own_script_and_style(run: Results) -> None:
    elements = Elements(written(run))
    [policy] = [
        attributes["content"] or ""
        for tag, attributes in elements.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.keys() == {"default-src", "style-src", "script-src", "img-src", "base-uri", "form-action"}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        digest = hashlib.sha256(elements.inline[kind][-1].encode()).digest()
        assert rules[f"{kind}-src"] == f"'sha256-{b64encode(digest).decode()}'"


def test_another_report_is_made_from_its_own_template_and_our_macros(tmp_path: Path) -> None:
    (tmp_path / "plan.html").write_text(
        '{% import "parts.html" as parts %}<h1>{{ name }}</h1>{{ parts.zoom("time") }}{{ parts.figure(plots.a) }}'
        '{{ parts.figure(plots.b) }}<dl>{{ parts.tile("Cost", 12 | count, "a month") }}</dl>'
        '{{ parts.rows([("Streams", 3 | count)]) }}'
    )
    plots = [
        Plot(id="a", title="A", x=[1, 2], lines=[Line("a", [1, 2])], x_unit="s", sync="time"),
        Plot(id="b", title="B", x=[1, 2], lines=[Line("b", [None, None])]),
    ]
    body = templates(tmp_path).get_template("plan.html").render(name="<b>", plots={plot.id: plot for plot in plots})
    page = document("A <plan>", Markup(body), plots).decode()  # noqa: S704 - of a template that escapes
    assert "<title>A &lt;plan&gt;</title>" in page
    assert "<h1>&lt;b&gt;</h1>" in page
    assert 'data-plot="a"' in page
    assert 'data-plot="b"' not in page
    assert "<dt>Cost</dt><dd>12</dd>" in page


def test_plots_of_one_id_are_refused() -> None:
    plot = Plot(id="a", title="A", x=[1, 2], lines=[Line("a", [1, 2])])
    with pytest.raises(ValueError, match="ids of plots must differ: a, a"):
        document("", Markup(), [plot, plot])
