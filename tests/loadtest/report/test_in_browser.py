"""Pages of runs in a real Chromium that has no network: what they draw, and what they do when one points at them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Page, expect

from loadtest.report.comparing import compared
from loadtest.report.comparing_page import comparison_page
from loadtest.report.page import written
from loadtest.results import Results
from tests.loadtest.report.test_page import HOSTILE

pytestmark = pytest.mark.browser

Visit = Callable[..., "Visitor"]


@dataclass
class Visitor:
    """A page, and everything that it asked for or complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Visit]:
    contexts: list[BrowserContext] = []
    expect.set_options(timeout=20_000)

    def open_page(html: bytes, **options: Any) -> Visitor:
        file = tmp_path / f"{len(contexts)}.html"
        file.write_bytes(html)
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        visitor = Visitor(context.new_page())

        def on_dialog(dialog: Dialog) -> None:
            visitor.complaints.append(f"dialog {dialog.message}")
            dialog.dismiss()

        visitor.page.on("console", lambda said: visitor.complaints.append(said.text))
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        visitor.page.on("dialog", on_dialog)
        visitor.page.on("request", lambda request: visitor.requested.append(request.url))
        visitor.page.goto(file.as_uri())
        expect(visitor.page.locator("html[data-plots]")).to_have_count(1)
        return visitor

    yield open_page
    for context in contexts:
        context.close()


def value_in(page: Page, plot: str, line: int = 1) -> Locator:
    """What a plot's legend shows of a line: it follows the cursor a frame later."""
    return page.locator(f"#{plot} .u-series").nth(line).locator(".u-value")


def point_at(page: Page, plot: str, share: float) -> tuple[float, float]:
    over = page.locator(f"#{plot} .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    at = (box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
    page.mouse.move(*at)
    return at


def test_a_page_draws_every_plot_asks_for_nothing_and_answers_to_the_cursor_and_to_zooms(
    visit: Visit, run: Results
) -> None:
    visitor = visit(written(run), viewport={"width": 1280, "height": 900})
    page = visitor.page
    assert page.locator("figure.plot").count() == page.locator(".uplot canvas").count() == 12
    blank = page.evaluate(
        """() => [...document.querySelectorAll(".uplot canvas")].filter(canvas => {
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return !data.some((value, place) => place % 4 === 3 && value > 0);
        }).length"""
    )
    assert blank == 0

    expect(value_in(page, "open")).to_have_text("max 1,500")
    point_at(page, "open", 0.5)
    expect(value_in(page, "open")).to_have_text("1,425")
    # Plots of the run follow the same moment; the distributions have no moments.
    expect(value_in(page, "behind", 0)).to_have_text(value_in(page, "open", 0).inner_text())
    expect(value_in(page, "percentiles")).to_have_text(re.compile("^p99 "))

    canvas = page.locator("#open canvas")
    expect(canvas).to_have_attribute("role", "img")
    assert str(canvas.get_attribute("aria-label")).startswith("Streams open: all max 1,500, ")
    toggle = page.locator("#open .u-series").nth(1).get_by_role("button", name="all")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#open .u-series").nth(1)).to_have_class("u-series u-off")
    expect(toggle).to_have_attribute("aria-pressed", "false")
    assert len(visitor.requested) == 1
    assert visitor.complaints == []
    zooms_by_dragging_and_by_buttons(page)


def zooms_by_dragging_and_by_buttons(page: Page) -> None:
    """Part of the claims above: a page is not drawn twice for them."""
    page.mouse.move(1, 1)
    whole = page.get_by_role("button", name="Whole run")
    expect(whole).to_have_attribute("aria-pressed", "true")
    expect(value_in(page, "behind")).to_have_text("max 1,350")

    point_at(page, "open", 0.35)
    page.mouse.down()
    page.mouse.move(*point_at(page, "open", 0.55), steps=4)
    page.mouse.up()
    expect(whole).to_have_attribute("aria-pressed", "false")
    page.mouse.move(1, 1)
    expect(value_in(page, "behind")).to_have_text("max 0")

    fault = page.get_by_role("button", name="kill workers · at 3:00")
    fault.click()
    expect(fault).to_have_attribute("aria-pressed", "true")
    expect(value_in(page, "behind")).to_have_text("max 1,350")
    point_at(page, "rates", 0.99)
    expect(value_in(page, "rates", 0)).to_have_text(re.compile("^3:"))

    page.locator("#rates .u-over").dblclick()
    expect(whole).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}, id="phone"),
        pytest.param({"viewport": {"width": 820, "height": 1100}, "color_scheme": "dark"}, id="tablet, dark"),
    ],
)
def test_a_page_is_no_wider_than_its_screen_and_answers_to_fingers(
    visit: Visit, run: Results, faster: Results, options: dict[str, Any]
) -> None:
    for html in ([comparison_page(compared(run, faster))] if options.get("has_touch") else []) + [written(run)]:
        visitor = visit(html, **options)
        wide, screen = visitor.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide == screen == options["viewport"]["width"]
        assert visitor.complaints == []
        ground = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(16, 17, 19)" if options.get("color_scheme") == "dark" else "rgb(248, 248, 246)")
    if options.get("has_touch"):  # a finger on a plot moves the cursor
        over = visitor.page.locator("#open .u-over")
        over.scroll_into_view_if_needed()
        over.tap()
        expect(value_in(visitor.page, "open")).to_have_text("1,425")


def test_paper_is_white_sharp_and_holds_every_plot(visit: Visit, run: Results) -> None:
    page = visit(written(run), viewport={"width": 1280, "height": 900}, color_scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 688, "height": 980})  # A4 less its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 688
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    sizes = page.evaluate(
        """[...document.querySelectorAll(".canvas")].map(box => [
            box.querySelector(".u-wrap").getBoundingClientRect().width, box.clientWidth,
            box.querySelector("canvas").width])"""
    )
    assert len(sizes) == 12
    assert all(shown <= room and dots == 2 * shown for shown, room, dots in sizes), sizes
    expect(page.locator(".zoom")).to_be_hidden()

    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.locator(".zoom")).to_be_visible()
    assert page.evaluate("document.querySelector('#open canvas').width") > 1000


def test_markup_in_the_results_stays_text_and_no_script_but_the_pages_own_runs(visit: Visit, run: Results) -> None:
    hostile = msgspec.structs.replace(
        run,
        title=HOSTILE,
        warnings=[HOSTILE],
        errors={HOSTILE: 1},
        faults=[msgspec.structs.replace(fault, what=HOSTILE) for fault in run.faults],
        series=msgspec.structs.replace(run.series, open_by_group={HOSTILE: run.series.open, "b": run.series.open}),
    )
    page = written(hostile)
    visitor = visit(page)
    shown = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    expect(visitor.page.locator("h1")).to_contain_text(shown)
    expect(visitor.page.locator("#open .u-series").nth(2)).to_contain_text(shown)
    expect(visitor.page.get_by_role("button", name=shown).first).to_be_visible()
    assert visitor.page.locator("img").count() == 0
    assert visitor.complaints == []
    assert len(visitor.requested) == 1

    # Were it not text, it would not run: the page knows its own script by its hash.
    injected = visit(page.replace(b"<main>", b"<main><script>document.title = 'owned'</script>"))
    assert injected.page.title() != "owned"
    assert any("Content Security Policy" in complaint for complaint in injected.complaints)
