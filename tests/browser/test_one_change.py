"""The whole path for real: somebody flips a toggle on a page, and everybody who listens holds the new value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.python_sdk import following, python_sdk, wait_for_line
from tests.browser.sdk_page import served
from tests.programs import COMMAND, Up, environment

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def sign_in(page: Page, up: Up) -> None:
    page.goto(up.stack["publisher"])
    page.get_by_label("token", exact=False).first.fill(up.stack["admin_token"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Demo").first.click()


def test_a_toggle_on_the_page_reaches_every_kind_of_client(browser: Browser, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    with Up(tmp_path / "data", measured=False) as up:
        stack, demo = up.stack, up.stack["environment"]
        feature = demo["feature"]
        watch = [*COMMAND, "watch", demo["key"], "--api-url", stack["stream"]]
        with (
            served(pages, stream=stack["stream"], key=demo["key"], feature=feature) as site,
            following(watch, tmp_path / "watch.log") as watched,
            following(python_sdk(demo["server_key"], stack["stream"], feature), tmp_path / "python.log") as python,
        ):
            first, second, *sdks = (browser.new_context().new_page() for _ in range(4))
            for page in (first, second):
                sign_in(page, up)
            for page, version in zip(sdks, ("10", "12"), strict=True):
                page.goto(f"{site}/{version}.html")
                expect(page.locator("#value")).to_have_text('[true,"a"]')
            wait_for_line(python, "True a", "the Python SDK")
            wait_for_line(watched, "watching 1 feature", "flagstream watch")

            switch = f'[role="switch"][aria-label*="{feature}"][aria-label*="Development"]'
            expect(second.locator(switch)).to_have_attribute("aria-checked", "true")
            first.locator(switch).click()

            expect(first.locator(switch)).to_have_attribute("aria-checked", "false")
            expect(second.locator(switch)).to_have_attribute("aria-checked", "false")
            for page in sdks:
                expect(page.locator("#value")).to_have_text('[false,"a"]')
            wait_for_line(python, "False a", "the Python SDK")
            wait_for_line(watched, "off", "flagstream watch")

            up.toggle(enabled=True, value="b")
            expect(second.locator(switch)).to_have_attribute("aria-checked", "true")
            for page in sdks:
                expect(page.locator("#value")).to_have_text('[true,"b"]')
            wait_for_line(python, "True b", "the Python SDK")
            wait_for_line(watched, '"b"', "flagstream watch")


def test_a_browsers_own_event_source_follows_over_the_end_of_streams(browser: Browser, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    short = environment(STREAM_SERVER_LIFETIME="2", STREAM_SERVER_JOIN_WINDOW="0", STREAM_SERVER_RETRY="0.2")
    with Up(tmp_path / "data", env=short, measured=False) as up:
        demo = up.stack["environment"]
        with served(pages, stream=up.stack["stream"], key=demo["key"], feature=demo["feature"]) as site:
            page = browser.new_page()
            page.goto(f"{site}/event-source.html")
            for number in range(4):
                state = up.toggle(value=number)
                expect(page.locator("#value")).to_have_text(json.dumps(state["updated_at"]), timeout=10_000)
                page.wait_for_timeout(1500)  # longer than a stream lives, over the four
            assert up.toggle(value=3)["updated_at"] == state["updated_at"], "the same value is no change"
