"""Switches, values and the live panel, in browsers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.dashboard.conftest import Site, Visitor
from tests.servers import wait_until

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


def switch(page: Page, feature: str, environment: str = "Development") -> Locator:
    return page.get_by_role("switch", name=f"{feature} in {environment}", exact=True)


def value(page: Page, feature: str, environment: str = "Development") -> Locator:
    return page.get_by_role("button", name=re.compile(f"^Value of {feature} in {environment}:"))


def field(page: Page, label: str) -> Locator:
    """The one that is shown: every dialog has fields of the same names."""
    return page.get_by_label(label, exact=True).filter(visible=True)


def live(page: Page, environments: int = 1) -> None:
    expect(page.locator("[data-live-state][data-state=live]")).to_have_count(environments)


def is_on(locator: Locator, on: bool) -> None:
    expect(locator).to_have_attribute("aria-checked", "true" if on else "false")


def test_a_toggle_shows_in_another_browser_without_a_reload(site: Site, visit: Visit) -> None:
    project = site.project("Development", "Production", banner="a")
    one, other = visit(project.url), visit(project.url)
    live(one.page, 2)
    live(other.page, 2)
    other.page.evaluate("window.stayed = true")

    switch(one.page, "banner").click()
    is_on(switch(one.page, "banner"), on=False)
    is_on(switch(other.page, "banner"), on=False)
    is_on(switch(other.page, "banner", "Production"), on=True)

    value(one.page, "banner", "Production").click()
    field(one.page, "Value").fill("b")
    one.page.keyboard.press("Enter")
    expect(value(other.page, "banner", "Production")).to_have_text('"b"')
    assert other.page.evaluate("window.stayed")
    assert one.complained() == other.complained() == []


def test_a_push_is_listed_with_its_measured_latency(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    live(visitor.page)
    expect(visitor.page.locator("#clock")).to_contain_text("±")
    pushes = visitor.page.locator("#pushes li")

    switch(visitor.page, "banner").click()
    expect(pushes).to_have_count(1)
    expect(pushes.first).to_contain_text("banner off")
    expect(pushes.first).to_contain_text("Development, by admin")
    expect(pushes.first.locator(".latency")).to_have_text(re.compile(r"^\d+(\.\d+)? m?s$"))
    assert 0 < float(pushes.first.get_attribute("data-latency") or 0) < 8000

    bob = site.token("bob")
    site.change(project.keys["Development"], "banner", value={"deep": [1]}, token=bob["token"])
    expect(pushes).to_have_count(2)
    expect(pushes.first).to_contain_text(f"by {bob['name']}")
    expect(pushes.first.locator(".latency")).to_have_text(re.compile(r"^≈ \d+(\.\d+)? m?s$"))
    expect(visitor.page.locator("#measured")).to_have_text("2")
    expect(visitor.page.locator("#median")).to_have_text(re.compile(r"\d m?s$"))
    assert visitor.complained() == []


def test_quick_clicks_end_where_the_last_one_left_it(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    live(visitor.page)
    button = switch(visitor.page, "banner")
    button.evaluate("element => { for (let i = 0; i < 9; i++) element.click() }")
    is_on(button, on=False)
    expect(visitor.page.locator("td[data-saving]")).to_have_count(0)
    assert site.state(project.keys["Development"], "banner")["enabled"] is False
    # The clicks in between cancel each other out: they need no request of their own.
    assert site.state(project.keys["Development"], "banner")["version"] <= 3
    assert visitor.complained() == []


def test_a_change_that_cannot_be_saved_is_taken_back_and_says_so(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    live(visitor.page)
    site.publisher.kill()
    try:
        switch(visitor.page, "banner").click()
        note = visitor.page.get_by_role("alert").filter(has_text="cannot be reached")
        expect(note).to_be_visible()
        is_on(switch(visitor.page, "banner"), on=True)
    finally:
        site.publisher.start()
    visitor.page.get_by_role("button", name="Try again").click()
    is_on(switch(visitor.page, "banner"), on=False)
    wait_until(lambda: not site.state(project.keys["Development"], "banner")["enabled"], "the second try")
    expect(note).to_have_count(0)


def test_a_stale_change_is_refused_and_shown(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    live(visitor.page)
    # A page that has not heard of the change yet.
    visitor.page.route("**/features?limit=500", lambda route: route.abort())
    bob = site.token("bob")
    site.change(project.keys["Development"], "banner", value="bob's", token=bob["token"])
    switch(visitor.page, "banner").click()

    note = visitor.page.get_by_role("alert").filter(has_text=f"Not saved: {bob['name']} changed this meanwhile")
    expect(note).to_contain_text('It is now on, "bob\'s".')
    is_on(switch(visitor.page, "banner"), on=True)
    expect(value(visitor.page, "banner")).to_have_text('"bob\'s"')
    assert site.state(project.keys["Development"], "banner")["enabled"] is True

    visitor.page.get_by_role("button", name="Switch it off anyway").click()
    is_on(switch(visitor.page, "banner"), on=False)
    wait_until(lambda: not site.state(project.keys["Development"], "banner")["enabled"], "the change")
    assert site.state(project.keys["Development"], "banner")["value"] == "bob's"


def test_what_is_being_edited_is_not_replaced_but_announced(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    live(visitor.page)
    value(visitor.page, "banner").click()
    typed = field(visitor.page, "Value")
    typed.fill("mine")
    bob = site.token("bob")
    site.change(project.keys["Development"], "banner", value="bobs", token=bob["token"])
    notice = visitor.page.locator("#editor-note")
    expect(notice).to_have_text(f'{bob["name"]} changed this while you were editing. It is now on, "bobs".')
    expect(typed).to_have_value("mine")

    typed.press("Enter")
    expect(notice).to_contain_text("Save again to replace that")
    assert site.state(project.keys["Development"], "banner")["value"] == "bobs"
    typed.press("Enter")
    expect(visitor.page.locator("#editor")).to_be_hidden()
    wait_until(lambda: site.state(project.keys["Development"], "banner")["value"] == "mine", "the second save")


def test_an_own_change_under_way_is_no_reason_to_ask_again(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    page = visit(project.url).page
    live(page)
    held: list[Route] = []
    page.route("**/features/banner", lambda route: route.continue_() if held else held.append(route))
    switch(page, "banner").click()
    value(page, "banner").click()
    field(page, "Value").fill("b")
    with page.expect_response("**/features/banner"):
        held[0].continue_()
    expect(page.locator("td[data-saving]")).to_have_count(0)
    field(page, "Value").press("Enter")
    expect(page.locator("#editor")).to_be_hidden()
    wait_until(lambda: site.state(project.keys["Development"], "banner")["value"] == "b", "the second change")
    assert site.state(project.keys["Development"], "banner")["enabled"] is False


def test_everything_can_be_done_by_keyboard(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    page = visit(project.url).page
    live(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "switch":
            break
    expect(switch(page, "banner")).to_be_focused()
    page.keyboard.press("Space")
    is_on(switch(page, "banner"), on=False)

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    typed = field(page, "Value")
    expect(typed).to_be_focused()
    page.keyboard.press("Escape")
    expect(value(page, "banner")).to_be_focused()

    page.keyboard.press("Enter")
    field(page, "Value type").select_option("number")
    typed.focus()
    page.keyboard.type("twelve")
    page.keyboard.press("Enter")
    expect(page.locator("#editor-fault")).to_contain_text("not a number")
    expect(typed).to_have_attribute("aria-invalid", "true")
    typed.fill("12.5")
    page.keyboard.press("Enter")
    expect(value(page, "banner")).to_have_text("12.5")
    wait_until(lambda: site.state(project.keys["Development"], "banner")["value"] == 12.5, "the number")


def test_features_are_made_renamed_and_deleted_on_every_page_that_looks(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    one, other = visit(project.url), visit(project.url)
    live(one.page)
    live(other.page)
    page = one.page
    page.get_by_role("button", name="New feature").click()
    field(page, "Name").fill("banner")
    page.get_by_role("button", name="Create feature").click()
    expect(page.get_by_role("alert").filter(has_text="already")).to_be_visible()
    field(page, "Name").fill("checkout")
    field(page, "Value type").select_option("json")
    field(page, "Value").fill("{")
    page.get_by_role("button", name="Create feature").click()
    expect(page.get_by_role("alert").filter(has_text="This is not JSON")).to_be_visible()
    field(page, "Value").fill('{"a": 1}')
    page.get_by_role("button", name="Create feature").click()
    for visitor in (one, other):
        expect(value(visitor.page, "checkout")).to_have_text('{"a":1}')

    page.get_by_role("button", name="checkout", exact=True).click()
    field(page, "Name").fill("payment")
    page.get_by_role("button", name="Save", exact=True).filter(visible=True).click()
    for visitor in (one, other):
        is_on(switch(visitor.page, "payment"), on=False)
        expect(switch(visitor.page, "checkout")).to_have_count(0)

    page.get_by_role("button", name="payment", exact=True).click()
    page.get_by_role("button", name="Delete…").click()
    delete = page.get_by_role("button", name="Delete feature")
    expect(delete).to_be_disabled()
    page.get_by_label("To confirm, type payment").fill("payment")
    delete.click()
    for visitor in (one, other):
        expect(switch(visitor.page, "payment")).to_have_count(0)
    assert one.complained("409") == other.complained() == []


def test_the_page_says_when_streams_fail_and_comes_back_by_itself(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    page = visit(project.url).page
    live(page)
    expect(page.locator("[data-streams]")).to_have_text("1 stream")
    site.streams.kill()
    try:
        expect(page.locator("#connection")).to_contain_text("The stream server does not answer")
        expect(page.locator("[data-live-state]")).to_contain_text("Reconnecting in")
        site.change(project.keys["Development"], "banner", enabled=False)
    finally:
        site.streams.start()
    live(page)
    # What happened meanwhile is seen as soon as the stream is back.
    is_on(switch(page, "banner"), on=False)
    expect(page.locator("#pushes li").first.locator(".latency")).to_have_text("while connecting")
