"""Real clients through nchan: the published SDKs and Chromium's EventSource, with the documents behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.python_sdk import following, python_sdk, wait_for_line
from tests.browser.sdk_page import served
from tests.edge.nchan_servers import Feeder, Nginx
from tests.programs import Up
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@contextmanager
def in_front(up: Up, folder: Path) -> Iterator[Nginx]:
    """Run nginx, with streams of 5 and 6 s, and a feeder in front of a stack."""
    nginx = Nginx(folder / "nginx", origin=urlsplit(up.stack["stream"]).netloc, short=True).start()
    feeder = Feeder(folder, up.stack["nats"], [nginx]).start()
    try:
        wait_until(lambda: feeder.health()[0] == 200, "the feeder's health")
        yield nginx
    finally:
        feeder.process.stop()
        nginx.kill()


def test_sdks_and_browsers_hold_the_newest_values_over_ends_and_a_crash_of_nginx(
    browser: Browser, tmp_path: Path
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    with Up(tmp_path / "data", measured=False) as up, in_front(up, tmp_path) as nginx:
        demo = up.stack["environment"]
        feature = demo["feature"]
        sdk = python_sdk(demo["server_key"], nginx.url, feature)
        with (
            served(pages, stream=nginx.url, key=demo["key"], feature=feature) as page_url,
            following(sdk, tmp_path / "python.log") as python,
        ):
            tenth, twelfth, plain = (browser.new_context().new_page() for _ in range(3))
            requests = _stream_requests(plain)
            tenth.goto(f"{page_url}/10.html")
            twelfth.goto(f"{page_url}/12.html")
            plain.goto(f"{page_url}/event-source.html")

            def hold(enabled: bool, value: str) -> None:
                before = plain.locator("#value").text_content()
                up.toggle(enabled=enabled, value=value)
                for page in (tenth, twelfth):
                    expect(page.locator("#value")).to_have_text(f'[{str(enabled).lower()},"{value}"]', timeout=20_000)
                wait_for_line(python, f"{enabled} {value}", "the Python SDK")
                expect(plain.locator("#value")).not_to_have_text(before or "", timeout=20_000)

            for page in (tenth, twelfth):
                expect(page.locator("#value")).to_have_text('[true,"a"]')
            wait_for_line(python, "True a", "the Python SDK")
            expect(plain.locator("#value")).not_to_have_text("0")
            hold(enabled=False, value="b")
            seen = len(requests)
            wait_until(lambda: _waited(plain) and len(requests) >= seen + 1, "streams that ended and came back", 20)
            hold(enabled=True, value="c")
            nginx.kill()
            nginx.start()
            hold(enabled=False, value="d")
            assert not any("lastEventId" in url for url in requests)

            document = httpx.get(
                f"{nginx.url}/api/v1/environment-document/", headers={"X-Environment-Key": demo["server_key"]}
            )
            assert document.json()["feature_states"]
            assert document.headers["x-flagstream-version"]
            assert document.headers.get_list("access-control-allow-origin") == ["*"]
            identity = httpx.post(
                f"{nginx.url}/api/v1/identities/",
                headers={"X-Environment-Key": demo["key"]},
                json={"identifier": "u", "traits": []},
            )
            assert identity.json()["identifier"] == "u"
        assert demo["key"] not in nginx.logs()


def _stream_requests(page: Page) -> list[str]:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "/sse/" in request.url else None)
    return requests


def _waited(page: Page) -> bool:
    """Let the browser's events come in."""
    page.wait_for_timeout(50)
    return True
