"""The browser client in a real Chromium: streams, tabs, hidden pages, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.sdk_client.js.origin import Origin, serving
from tests.servers import wait_until

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as origin:
        yield origin


@pytest.fixture
def tab(browser: Browser, origin: Origin) -> Iterator[Tab]:
    """Open a page; those of one test are tabs of one browser. `start` is what it does first."""
    context = browser.new_context()
    context.set_default_timeout(30_000)
    faults: list[str] = []

    def open_page(start: str = "client()", *, clock: bool = False) -> Page:
        page = context.new_page()
        if clock:
            page.clock.install()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(origin.url, wait_until="commit")
        page.wait_for_function("window.loaded")
        page.evaluate(f"void ({start})")
        return page

    yield open_page
    context.close()
    assert faults == []


def holds(page: Page, value: Any) -> None:
    page.wait_for_function("wanted => flags.value('banner') === wanted", arg=value)


def seen(page: Page, name: str) -> list[Any]:
    """Return what the client told of by this name."""
    found: list[Any] = page.evaluate("name => seen.filter((each) => each[0] === name).map((each) => each[1])", name)
    return found


def until(page: Page, condition: str) -> None:
    page.wait_for_function(condition)


def leads(page: Page) -> bool:
    found: bool = page.evaluate("flags.leading")
    return found


def live(page: Page) -> None:
    until(page, "flags.connected && flags.status === 'current'")


def test_a_change_arrives_with_its_old_and_new_value(origin: Origin, tab: Tab) -> None:
    page = tab("client({bootstrap: {banner: 'brought along', other: false}})")
    assert page.evaluate("flags.ready().then(() => [flags.isEnabled('banner'), flags.source])") == [True, "server"]
    live(page)
    first = origin.version
    origin.change("b", enabled=False)
    holds(page, "b")
    change = seen(page, "change")[-1]
    assert [change[name] for name in ("feature", "oldValue", "value", "oldEnabled", "enabled")] == [
        *("banner", "a", "b", True, False)
    ]
    assert change["version"] == page.evaluate("flags.version") == origin.version
    query, headers = origin.documents[-1]
    assert query == f"v={origin.version}"
    assert headers["if-none-match"] == f'"{first}"'
    assert origin.documents[0][0] == ""


def test_the_next_stream_is_live_before_the_old_one_is_left(origin: Origin, tab: Tab) -> None:
    origin.lifetime = 10
    page = tab("client({random: () => 0})")  # at the first moment that the rules allow: after one second
    until(page, "seen.some(([name, what]) => name === 'stream' && what.end)")
    ends = [each for each in seen(page, "stream") if not each["opened"]]
    assert {each["end"]["kind"] for each in ends} == {"replaced"}
    for before, after in zip(origin.streams, origin.streams[1:], strict=False):
        assert after.opened < before.ended
    assert seen(page, "status") == ["current"]
    assert len(origin.documents) == 1


def test_tabs_share_one_stream_and_one_fetch(origin: Origin, tab: Tab) -> None:
    first = tab()
    live(first)
    others = [tab(), tab()]
    for page in others:
        live(page)
    assert len(origin.streams) == 1
    assert len(origin.documents) == 1
    origin.change("b")
    for page in (first, *others):
        holds(page, "b")
        assert [change["oldValue"] for change in seen(page, "change")] == ["a"]
    assert len(origin.documents) == 2

    # The one that leads goes: another one leads, and what changed meanwhile is not missed.
    first.close()
    origin.change("c")
    for page in others:
        holds(page, "c")
    wait_until(lambda: [leads(page) for page in others].count(True) == 1, "one that leads")
    wait_until(lambda: origin.open == 1, "one stream")
    assert len(origin.streams) == 2


def test_a_tab_that_crashes_is_replaced_and_no_change_is_missed(origin: Origin, tab: Tab) -> None:
    first, second = tab(), tab()
    live(first)
    live(second)
    crashed: list[Page] = []
    first.on("crash", lambda page: crashed.append(page))  # noqa: PLW0108 - playwright marks what it calls
    with first.expect_event("crash"), suppress(Error):
        first.goto("chrome://crash")
    origin.change("b")
    holds(second, "b")
    live(second)
    assert leads(second)
    assert crashed == [first]
    wait_until(lambda: origin.open == 1, "one stream")


def test_a_tab_without_locks_or_one_that_shares_nothing_has_a_stream_of_its_own(origin: Origin, tab: Tab) -> None:
    first = tab()
    live(first)
    refused = "(navigator.locks.request = () => Promise.reject(new DOMException('no', 'SecurityError')), client())"
    pages = [first, tab("client({shared: false})"), tab("(delete window.BroadcastChannel, client())"), tab(refused)]
    for page in pages:
        live(page)
    assert [leads(page) for page in pages] == [True] * 4
    assert origin.open == 4


def test_a_visible_tab_relieves_a_hidden_one(origin: Origin, tab: Tab) -> None:
    first = tab("client({relieveAfter: 0.1})")
    live(first)
    second = tab("client({relieveAfter: 0.1})")
    live(second)
    assert leads(first)
    first.evaluate("show(false)")
    until(second, "flags.leading")
    until(first, "!flags.leading")
    wait_until(lambda: origin.open == 1, "the hidden one's stream closed")
    origin.change("b")
    for page in (first, second):
        holds(page, "b")
    # Nobody looks: whoever has the stream keeps it, and the first that is looked at again takes it.
    second.evaluate("show(false)")
    first.evaluate("show(true)")
    until(first, "flags.leading")
    live(first)
    assert seen(first, "status") == ["current"]


def test_streams_rest_while_nobody_looks_and_are_back_at_once(origin: Origin, tab: Tab) -> None:
    page = tab("client({pauseAfter: 0.2})")
    live(page)
    page.evaluate("show(false)")
    until(page, "flags.status === 'paused'")
    wait_until(lambda: origin.open == 0, "the stream to be closed")
    fetched = len(origin.documents)
    origin.change("b")
    page.evaluate("show(true)")
    holds(page, "b")
    live(page)
    assert len(origin.documents) == fetched + 1
    assert len(origin.streams) == 2

    # One that rests comes to lead: it has no stream, and says so.
    follower = tab("client({pauseAfter: 0.2})")
    live(follower)
    follower.evaluate("show(false)")
    page.evaluate("setTimeout(() => flags.close(), 500)")
    until(follower, "flags.leading && flags.status === 'paused' && !flags.connected")
    wait_until(lambda: origin.open == 0, "no stream")


def test_a_frozen_tab_lets_another_one_lead(origin: Origin, tab: Tab) -> None:
    first = tab()
    live(first)
    second = tab()
    live(second)
    freeze, resume = (f"document.dispatchEvent(new Event('{name}'))" for name in ("freeze", "resume"))
    first.evaluate(freeze)  # Chromium freezes hidden pages only, which Playwright's never are
    until(second, "flags.leading")
    origin.change("b")
    holds(second, "b")
    assert first.evaluate("flags.value('banner')") == "a"
    first.evaluate(resume)
    holds(first, "b")
    assert not leads(first)


def test_a_tab_that_hangs_is_relieved_by_one_that_is_seen(origin: Origin, tab: Tab) -> None:
    first = tab()
    live(first)
    first.evaluate("void (BroadcastChannel.prototype.postMessage = () => {})")
    second = tab(clock=True)
    assert not leads(second)
    second.clock.fast_forward(6_000)  # it asked who leads, and heard nothing for five seconds
    until(second, "flags.leading")
    until(first, "!flags.leading")
    wait_until(lambda: origin.open == 1, "one stream")
    origin.change("b")
    holds(second, "b")


def test_after_a_sleep_the_next_stream_is_opened_and_the_old_one_left(origin: Origin, tab: Tab) -> None:
    page = tab("client({random: () => 0})", clock=True)
    live(page)
    assert origin.open == 1
    page.clock.fast_forward(20_000)
    page.clock.run_for(5_000)
    wait_until(lambda: len(origin.streams) == 2, "the next stream")
    wait_until(lambda: origin.open == 1, "the old one to be left")
    kinds = [each["end"]["kind"] for each in seen(page, "stream") if not each["opened"]]
    assert kinds == ["replaced"]


def test_a_network_that_comes_back_cuts_a_wait_short(origin: Origin, tab: Tab) -> None:
    origin.streaming = False
    page = tab("client({backoff: new Backoff({least: 0.1, base: 60, cap: 60}), random: () => 0.5})")
    until(page, "seen.some(([name, what]) => name === 'stream' && what.end?.kind === 'refused')")
    origin.streaming = True
    page.evaluate("void window.dispatchEvent(new Event('online'))")
    live(page)
    assert len(origin.streams) == 1


def test_where_bodies_cannot_be_streamed_event_source_is_used_and_reconnects_by_our_rules(
    origin: Origin, tab: Tab
) -> None:
    page = tab("(delete Response.prototype.body, client({random: () => 0}))")
    live(page)
    origin.change("b")
    holds(page, "b")
    origin.streaming = False
    origin.end()
    wait_until(
        lambda: origin.refused > 0, "a refusal, after which a browser's own EventSource would be closed for good"
    )
    origin.closing = False
    origin.streaming = True
    origin.change("c")
    holds(page, "c")
    live(page)


def test_polling_stands_in_for_streams_and_ends_with_the_first_one(origin: Origin, tab: Tab) -> None:
    origin.streaming = False
    page = tab("client({pollInterval: 0.5})")
    until(page, "flags.source === 'server'")
    follower = tab()
    wait_until(lambda: origin.refused >= 3, "three refusals")
    origin.change("b")
    for each in (page, follower):
        holds(each, "b")
        assert not each.evaluate("flags.connected")
    origin.streaming = True
    for each in (page, follower):
        live(each)
    origin.change("c")
    holds(follower, "c")
    assert origin.open == 1


def test_a_page_starts_with_what_it_had_when_everything_is_down(origin: Origin, tab: Tab) -> None:
    live(page := tab())
    page.close()
    origin.streaming = origin.fetching = False
    page = tab("client({pollInterval: 0.5})")
    assert page.evaluate("[flags.value('banner'), flags.source, flags.status]") == ["a", "cache", "starting"]
    until(page, "seen.some(([name]) => name === 'error')")  # which says why in time, however slow the machine
    with pytest.raises(Error, match=r"no flags after 0\.2 s: the server answered 503"):
        page.evaluate("flags.ready(0.2)")
    assert [type(error).__name__ for error in seen(page, "error")] == ["Error"], "once, not once an attempt"
    origin.streaming = origin.fetching = True
    live(page)
    assert origin.documents[-1][1]["if-none-match"] == f'"{origin.version}"'
    assert seen(page, "change") == []


def test_a_key_that_is_refused_is_told_in_every_tab(origin: Origin, tab: Tab) -> None:
    origin.fetching, origin.refusal = False, 403
    for page in (tab(), tab()):
        with pytest.raises(Error, match="KeyRefusedError: the server refused the environment key"):
            page.evaluate("flags.ready()")


def test_an_identity_has_flags_of_its_own(origin: Origin, tab: Tab) -> None:
    page = tab("client({identity: 'ada', traits: {plan: 'free'}})")
    page.evaluate("flags.ready().then(() => true)")
    assert page.evaluate("flags.json('banner')") == ["ada", {"plan": "free"}]
    assert page.evaluate("flags.identify('bob').then(() => flags.json('banner'))") == ["bob", {}]
    assert page.evaluate("flags.identify(null).then(() => flags.value('banner'))") == "a"
    wait_until(lambda: origin.open == 1, "one stream")


def test_two_clients_in_a_page_share_a_stream_and_other_words_on_their_channel_do_no_harm(
    origin: Origin, tab: Tab
) -> None:
    page = tab("(client(), window.leader = flags, client())")
    live(page)
    assert page.evaluate("[leader.leading, flags.leading]") == [True, False]
    page.evaluate(
        """async () => {
            const channel = new BroadcastChannel((await navigator.locks.query()).held[0].name);
            const document = { format: 1, version: -1, etag: "", flags: [null] };
            const said = [null, "x", {}, { leads: true }, { leads: true, document, fault: 1 }, { leads: false }];
            for (const message of said) channel.postMessage(message);
        }"""
    )
    origin.change("b")
    holds(page, "b")
    assert len(origin.streams) == 1
    page.evaluate("leader.close()")
    until(page, "flags.leading")
    live(page)


def test_what_is_closed_is_quiet_and_keeps_its_flags(origin: Origin, tab: Tab) -> None:
    page = tab()
    live(page)
    page.evaluate("flags.close()")
    wait_until(lambda: origin.open == 0, "the stream to be closed")
    assert page.evaluate("[flags.status, flags.value('banner'), flags.connected]") == ["closed", "a", False]


def test_a_stream_alone_tells_versions_and_its_state_in_every_tab(origin: Origin, tab: Tab) -> None:
    first, second = tab("stream()"), tab("stream()")
    for page in (first, second):
        until(page, "versions.state === 'live' && versions.version")
    origin.change("b")
    for page in (first, second):
        page.wait_for_function("wanted => versions.version === wanted", arg=origin.version)
        last = seen(page, "version")[-1]
        assert last["updatedAt"] == pytest.approx(origin.version / 1e6)
    assert origin.open == 1
    assert origin.documents == []

    origin.streaming = False
    origin.end()
    for page in (first, second):
        until(page, "versions.state === 'waiting' && versions.retryIn > 0")
    origin.streaming, origin.closing = True, False
    for page in (first, second):
        until(page, "versions.state === 'live'")
