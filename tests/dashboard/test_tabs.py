"""Our own browser client on the dashboard's pages: tabs that share their streams, and a page that follows flags."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Site, Visitor

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]

LIVE = "[data-live-state][data-state=live]"


def test_tabs_of_one_browser_share_their_streams_and_hand_them_over(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    first, second = visitor.page, visitor.page.context.new_page()
    expect(first.locator(LIVE)).to_have_count(1)
    second.goto(project.url)
    expect(second.locator(LIVE)).to_have_count(1)
    expect(second.locator("[data-streams]")).to_have_text("1 stream")

    switch = "button[role=switch][aria-label='banner in Development']"
    first.locator(switch).click()
    expect(second.locator(switch)).to_have_attribute("aria-checked", "false")
    first.close()
    expect(second.locator(LIVE)).to_have_count(1)
    site.change(project.keys["Development"], "banner", enabled=True)
    expect(second.locator(switch)).to_have_attribute("aria-checked", "true")
    assert visitor.complained() == []


def test_a_page_follows_flags_of_another_origin(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    key = project.keys["Development"]
    visitor = visit(f"{site.url}/changes")
    start = """async ([environmentKey, apiUrl]) => {
        const { FlagClient } = await import("/static/client/flagstream.js");
        window.flags = new FlagClient({ environmentKey, apiUrl });
        await flags.ready();
        return flags.value("banner");
    }"""
    assert visitor.page.evaluate(start, [key, f"{site.streams.url}/api/v1/"]) == "a"
    visitor.page.wait_for_function("flags.connected && flags.status === 'current'")
    version = site.change(key, "banner", value="b")["updated_at"]
    visitor.page.wait_for_function("wanted => flags.value('banner') === 'b' && flags.updatedAt === wanted", arg=version)
    assert visitor.complained() == []


def test_the_browser_client_is_served_to_be_asked_about_each_time(site: Site) -> None:
    answer = httpx.get(f"{site.url}/static/client/flagstream.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache"
