"""One announcement at a time, against a real nats-server: the broker never goes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from publisher import messages
from publisher.announcer import AheadError, Announcer, NotAnnouncedError
from publisher.messages import STREAM, broker
from publisher.messages.jetstream import call, stream_info
from publisher.provision import StreamUnfitError, configuration, provision
from tests.broker.conftest import Link
from tests.servers import NatsServer

pytestmark = pytest.mark.asyncio

T0 = 1_735_229_888_760_122


async def stored(link: Link, key: str = "e") -> int:
    return (await broker.read_newest(link.client)).versions[key]


async def put(link: Link, version: int) -> None:
    await link.client.request(messages.subject("e"), messages.encode(version), timeout=30)


async def test_an_older_version_never_covers_a_newer_one_whatever_is_remembered(link: Link) -> None:
    fresh = Announcer(link.client)
    assert await fresh.announce("e", T0 + 2) == T0 + 2
    assert await fresh.announce("e", T0 + 1) == T0 + 2  # remembered
    assert await Announcer(link.client).announce("e", T0 + 1) == T0 + 2  # not remembered
    assert await stored(link) == T0 + 2


async def test_who_was_overtaken_publishes_again_only_what_is_newer_still(link: Link) -> None:
    one, two = Announcer(link.client), Announcer(link.client)
    await one.announce("e", T0)
    await two.announce("e", T0 + 10)
    assert await one.announce("e", T0 + 5) == T0 + 10
    assert await one.announce("e", T0 + 20) == T0 + 20
    assert await two.announce("e", T0 + 15) == T0 + 20
    assert await stored(link) == T0 + 20
    assert (one.refused, two.refused) == (1, 2)


async def test_announcements_in_any_order_by_many_end_at_the_newest(link: Link) -> None:
    many = [Announcer(link.client) for _ in range(8)]
    await many[0].provision()
    order = [(T0 + (number * 37) % 101, many[number % 8]) for number in range(101)]

    async def announce(version: int, by: Announcer) -> None:
        while True:
            try:
                assert await by.announce("e", version) >= version
            except NotAnnouncedError:
                continue  # what a relay does
            return

    for start in range(0, len(order), 20):
        await asyncio.gather(*(announce(version, by) for version, by in order[start : start + 20]))
        assert await stored(link) == max(version for version, _ in order[: start + 20])


async def test_a_reading_taken_over_spares_the_refusal(link: Link) -> None:
    await Announcer(link.client).announce("e", T0)
    announcer = Announcer(link.client)
    announcer.learn(await broker.read_newest(link.client))
    assert await announcer.announce("e", T0 + 1) == T0 + 1
    assert announcer.refused == 0


async def test_a_missing_stream_is_made_and_one_that_vanishes_made_again(link: Link) -> None:
    announcer = Announcer(link.client)
    await announcer.announce("e", T0)
    await call(link.client, f"STREAM.DELETE.{STREAM}")
    assert await announcer.announce("e", T0 + 1) == T0 + 1
    assert await stored(link) == T0 + 1


async def test_a_message_that_is_no_announcement_is_replaced(link: Link) -> None:
    await provision(link.client)
    await link.client.request(messages.subject("e"), b"nonsense", timeout=30)
    assert await Announcer(link.client).announce("e", T0) == T0
    assert await stored(link) == T0


async def test_a_version_far_ahead_is_not_lowered_and_reported(link: Link) -> None:
    await provision(link.client)
    await put(link, T0 + messages.MAX_AHEAD + 1)
    with pytest.raises(AheadError) as caught:
        await Announcer(link.client, clock=lambda: T0).announce("e", T0)
    assert caught.value.held == T0 + messages.MAX_AHEAD + 1
    await put(link, T0 + messages.MAX_AHEAD)
    assert await Announcer(link.client, clock=lambda: T0).announce("e", T0) == T0 + messages.MAX_AHEAD


async def test_a_server_that_does_not_answer_is_an_error_in_time(nats_server: NatsServer, link: Link) -> None:
    await Announcer(link.client).announce("e", T0)
    nats_server.kill()
    with pytest.raises(NotAnnouncedError):
        await asyncio.wait_for(Announcer(link.client, timeout=0.2).announce("e", T0 + 1), 10)


async def test_what_is_remembered_is_bounded(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("publisher.announcer.REMEMBERED", 3)
    announcer = Announcer(link.client)
    for number in range(10):
        await announcer.announce(f"e{number}", T0)
    assert list(announcer._known) == ["e7", "e8", "e9"]
    assert await announcer.announce("e0", T0 + 1) == T0 + 1


async def test_the_stream_is_made_once_as_stated_and_then_only_checked(link: Link) -> None:
    assert (await provision(link.client)).created
    assert not (await provision(link.client)).created
    assert (await provision(link.client)).differences == ()
    found = (await stream_info(link.client)).config
    assert {name: found[name] for name in configuration(1)} == configuration(1)


async def test_processes_that_make_the_stream_at_once_all_succeed(link: Link) -> None:
    made = await asyncio.gather(*(provision(link.client) for _ in range(10)))
    assert any(each.created for each in made)


@pytest.mark.parametrize(
    ("change", "name", "remedy"),
    [
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject", "nats stream edit flags --max-msgs-per-subject=1"),
        ({"max_age": 3600 * 10**9}, "max_age", "nats stream edit flags --max-age=0"),
        ({"storage": "memory"}, "storage", "nats stream rm flags"),
        ({"allow_direct": False}, "allow_direct", "nats stream edit flags --allow-direct"),
        ({"subjects": ["flags.>"]}, "subjects", "nats stream edit flags --subjects='flags.environment.*.updated'"),
    ],
)
async def test_a_stream_that_differs_harmlessly_is_named_used_and_left_as_it_is(
    link: Link, change: dict[str, Any], name: str, remedy: str
) -> None:
    await call(link.client, f"STREAM.CREATE.{STREAM}", {**configuration(1), **change})
    before = (await stream_info(link.client)).config
    (difference,) = (await provision(link.client)).differences
    assert difference.name == name
    assert remedy in str(difference)
    announcer = Announcer(link.client)
    for version in (T0 + 1, T0, T0 + 2):
        await announcer.announce("e", version)
    assert await stored(link) == T0 + 2
    assert (await stream_info(link.client)).config == before


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"subjects": ["flags.other"]}, "subjects"),
        ({"retention": "workqueue"}, "retention"),
        ({"no_ack": True}, "no_ack"),
    ],
)
async def test_a_stream_that_would_lose_announcements_is_refused_by_name_and_left_as_it_is(
    link: Link, change: dict[str, Any], name: str
) -> None:
    await call(link.client, f"STREAM.CREATE.{STREAM}", {**configuration(1), **change})
    before = (await stream_info(link.client)).config
    with pytest.raises(StreamUnfitError) as caught:
        await provision(link.client)
    assert [fault.name for fault in caught.value.differences if fault.fatal] == [name]
    with pytest.raises(NotAnnouncedError, match=name):
        await Announcer(link.client).announce("e", T0)
    assert (await stream_info(link.client)).config == before
