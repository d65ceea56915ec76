"""Published clients that follow one environment through an edge, each over a counting proxy of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from publisher.messages import version_of
from tests.browser.python_sdk import following, python_sdk
from tests.browser.sdk_page import served
from tests.edge.clients.counting import CountingProxy
from tests.edge.clients.site import FEATURE, Environment

__all__ = ["Follower", "followers", "seconds_to_hold", "wait_for_all"]


@dataclass(frozen=True, slots=True)
class Follower:
    """`holds` tells whether it shows a value, whose change made a version; an EventSource knows only the version."""

    name: str
    proxy: CountingProxy
    holds: Callable[[str, int], bool]


@contextmanager
def followers(
    browser: Browser, folder: Path, *, port: int, environment: Environment, python: bool = True
) -> Iterator[list[Follower]]:
    """Start the JavaScript SDKs, Chromium's own EventSource and the Python SDK behind the edge at `port`."""
    folder.mkdir()
    with ExitStack() as stack:
        pages = stack.enter_context(served(folder, stream="", key=environment.key, feature=FEATURE))
        context = browser.new_context()
        stack.callback(context.close)
        found = []
        for name, kind in (("JS SDK 10", "10"), ("JS SDK 12", "12"), ("EventSource", "event-source")):
            proxy = stack.enter_context(CountingProxy(port))
            page = context.new_page()
            page.goto(f"{pages}/{kind}.html?base={proxy.url}")
            found.append(Follower(name, proxy, _event_source(page) if kind == "event-source" else _sdk(page)))
        if python:
            proxy = stack.enter_context(CountingProxy(port))
            command = python_sdk(environment.server_key, proxy.url, FEATURE)
            log = stack.enter_context(following(command, folder / "python.log"))
            found.append(Follower("Python SDK", proxy, _lines(log)))
        yield found


def seconds_to_hold(all_of_them: list[Follower], value: str, version: int, within: float) -> dict[str, float]:
    """Wait until each holds it; return the seconds that each took, to a hundredth."""
    began = time.monotonic()
    took: dict[str, float] = {}
    while len(took) < len(all_of_them):
        for each in all_of_them:
            if each.name not in took and each.holds(value, version):
                took[each.name] = round(time.monotonic() - began, 2)
        if time.monotonic() > began + within:
            missing = sorted({each.name for each in all_of_them} - took.keys())
            pytest.fail(f"{missing} do not hold {value!r} after {within:g} s; the others took {took}")
        time.sleep(0.01)
    return took


def wait_for_all(all_of_them: list[Follower], value: str, version: int, within: float = 10) -> None:
    """Wait until each holds it."""
    seconds_to_hold(all_of_them, value, version, within)


def _shown(page: Page) -> str:
    # Not by a locator: what is awaited here is the other clients' turn as well.
    text: str = page.evaluate("document.getElementById('value').textContent")
    return text


def _sdk(page: Page) -> Callable[[str, int], bool]:
    return lambda value, _: _shown(page) == json.dumps([True, value], separators=(",", ":"))


def _event_source(page: Page) -> Callable[[str, int], bool]:
    return lambda _, version: version_of(float(_shown(page))) == version


def _lines(log: Path) -> Callable[[str, int], bool]:
    return lambda value, _: log.read_text().splitlines()[-1:] == [f"True {value}"]
