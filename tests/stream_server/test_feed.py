"""The feed over a real nats-server that is killed, wiped, paused and lied to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from structlog.testing import capture_logs

from publisher.messages import (
    COUNTS_SUBJECT,
    MAX_AHEAD,
    SUBJECTS,
    CountsReply,
    CountsRequest,
    encode,
    expected_sequence,
    now,
    subject,
)
from stream_server.app import Place
from stream_server.settings import StreamServerSettings
from tests.servers import NatsServer
from tests.stream_server.raw import PATIENCE, Announcer, Answer, Running, open_stream, running, settings_for, until

pytestmark = pytest.mark.asyncio

MINUTE = 60_000_000


@pytest_asyncio.fixture
async def announcer(nats_server: NatsServer) -> Announcer:
    announcer = Announcer(nats_server)
    await announcer.create()
    return announcer


@pytest_asyncio.fixture
async def server(announcer: Announcer) -> AsyncIterator[Running]:
    async with running(settings_for(announcer.server.url, resync_interval=0.3)) as server:
        await server.ready()
        yield server


def count(metric: Any, *labels: str) -> float:
    value: float = (metric.labels(*labels) if labels else metric)._value.get()
    return value


def known(server: Running, key: str) -> int:
    """Return the newest version that the feed has told of, 0 before the first."""
    channel = server.parts.hub._channels.get(key)
    return 0 if channel is None else channel.version


async def test_newest_versions_are_known_before_it_reports_ready(announcer: Announcer) -> None:
    version = now()
    await announcer.announce(version)
    async with running(settings_for(announcer.server.url)) as server:
        await server.ready()
        async with await open_stream(server.url) as stream:
            assert await stream.version() == version


async def test_change_goes_from_the_broker_to_the_stream(server: Running, announcer: Announcer) -> None:
    async with await open_stream(server.url) as stream:
        await stream.chunk()
        version = now()
        await announcer.announce(version)
        assert await stream.version() == version


async def test_not_ready_says_what_is_missing_and_streams_are_held_meanwhile(nats_server: NatsServer) -> None:
    nats_server.kill()
    async with running(settings_for(nats_server.url, heartbeat=0.1)) as server:
        for path in ("/health/readiness", "/readyz/", "/health", "/sse/health"):
            async with await Answer.to(server.url, path) as answer:
                assert answer.status == 503
                body = await answer.json()
                assert body["nats"] == "away"
                assert "NATS cannot be reached" in body["reasons"][0]
        for path in ("/health/liveness", "/health/liveness/", "/livez"):
            async with await Answer.to(server.url, path) as answer:
                assert answer.status == 200
        async with await open_stream(server.url) as stream:
            assert await stream.chunk() == b"retry: 2000\n\n"
            nats_server.start()
            announcer = Announcer(nats_server)
            await announcer.create()
            version = now()
            await announcer.announce(version)
            assert await stream.version() == version
        await server.ready()


async def test_missing_stream_is_not_ready_until_it_is_made(nats_server: NatsServer) -> None:
    async with running(settings_for(nats_server.url)) as server:
        reason = ""
        async with asyncio.timeout(PATIENCE):
            while "JetStream" not in reason:  # a busy machine's broker may be away for some readings before
                async with await Answer.to(server.url, "/health/readiness") as answer:
                    assert answer.status == 503
                    reason = (await answer.json())["reasons"][0]
        assert count(server.parts.metrics.failed_resyncs) > 0
        await Announcer(nats_server).create()
        await server.ready()


async def test_nats_killed_and_restarted_loses_no_stream_and_no_change(server: Running, announcer: Announcer) -> None:
    before = now()
    await announcer.announce(before)
    async with await open_stream(server.url) as stream:
        assert await stream.until(before)
        announcer.server.kill()
        await until(lambda: not server.parts.feed.connected, "the loss of NATS")
        assert server.parts.feed.ready
        async with await open_stream(server.url) as newcomer:
            assert await newcomer.version() == before
        announcer.server.start()
        back = time.monotonic()
        after = now()
        await announcer.announce(after)
        assert await stream.version() == after
        assert time.monotonic() - back < 10  # a quarter of a second when nothing else runs


async def test_silent_gap_is_noticed_and_read(server: Running, announcer: Announcer) -> None:
    async with await open_stream(server.url) as stream:
        await stream.chunk()
        # The broker takes changes that this feed cannot hear: its subscription is gone, silently, as in a partition.
        resyncs = count(server.parts.metrics.resyncs, "gap")
        await _live_subscription().unsubscribe()
        version = now()
        await announcer.announce(version)
        assert await stream.version() == version
        assert count(server.parts.metrics.resyncs, "gap") > resyncs


async def test_quiet_broker_is_not_read_again(server: Running, announcer: Announcer) -> None:
    version = now()
    await announcer.announce(version, version + 1, version + 2)
    await until(lambda: known(server, "abc") == version + 2, "the change")
    await until(lambda: server.parts.feed._seen.live == 0, "a comparison that found nothing missed")
    before = count(server.parts.metrics.resyncs, "gap")
    await asyncio.sleep(1)  # three more comparisons; there is nothing to await when nothing happens
    assert count(server.parts.metrics.resyncs, "gap") == before


async def test_slow_consumer_reads_again(server: Running) -> None:
    feed = server.parts.feed
    feed._on_error(SlowConsumerError(subject=SUBJECTS, reply="", sid=1, sub=_live_subscription()))
    await until(lambda: count(server.parts.metrics.resyncs, "slow consumer") >= 1, "the reading")


async def test_wiped_broker_never_takes_a_version_back(server: Running, announcer: Announcer) -> None:
    newest = now()
    await announcer.announce(newest)
    async with await open_stream(server.url) as stream:
        assert (await stream.until(newest))[-1] == newest
        announcer.server.kill()
        announcer.server.wipe()
        announcer.server.start()
        await until(lambda: server.parts.feed.connected, "the return of NATS")
        await announcer.create()
        failed = count(server.parts.metrics.failed_resyncs)
        await until(lambda: count(server.parts.metrics.failed_resyncs) > failed, "a reading that is not believed")
        await announcer.announce(newest - MINUTE)
        await announcer.announce(newest - MINUTE, key="other")
        await until(lambda: server.parts.hub.knows("other"), "the other environment")
        async with await open_stream(server.url) as newcomer:
            assert await newcomer.version() == newest
        await announcer.announce(newest + 1)
        assert await stream.version() == newest + 1


async def test_empty_broker_is_not_believed_while_the_snapshot_knows_versions(
    announcer: Announcer, tmp_path: Path
) -> None:
    settings = settings_for(announcer.server.url, snapshot_dir=str(tmp_path / "snapshot"))
    saved = now()
    async with running(settings) as server:
        await server.ready()  # nothing known and nothing there: a new installation
        await announcer.announce(saved)
        await until(lambda: server.parts.hub.knows("abc"), "the change")
    announcer.server.kill()
    announcer.server.wipe()
    async with running(settings) as server:
        async with await open_stream(server.url) as stream:
            assert await stream.version() == 0, "the broker has a moment to say what is newest"
            assert await stream.version() == saved
        announcer.server.start()
        await announcer.create()
        await until(lambda: server.parts.feed.connected, "the return of NATS")
        failed = count(server.parts.metrics.failed_resyncs)
        await until(lambda: count(server.parts.metrics.failed_resyncs) > failed, "a reading that is not believed")
        assert not server.parts.feed.ready
        await announcer.announce(saved)
        await server.ready()


async def test_a_client_that_comes_back_is_never_told_of_less_than_it_knew(
    announcer: Announcer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_server.feed.FIRST_SAY", PATIENCE)  # the time that the broker has is not over here
    settings = settings_for(announcer.server.url, snapshot_dir=str(tmp_path / "snapshot"))
    saved = now()
    async with running(settings) as server:
        await announcer.announce(saved)
        await until(lambda: server.parts.hub.knows("abc"), "the change")
    await announcer.announce(saved + 1)  # which the client has heard elsewhere
    announcer.server.pause()
    async with running(settings) as server, await open_stream(server.url) as stream:
        assert await stream.version() == 0
        announcer.server.resume()
        assert await stream.version() == saved + 1


async def test_versions_far_ahead_and_what_is_no_announcement_are_ignored_and_counted(
    server: Running, announcer: Announcer
) -> None:
    version = now()
    await announcer.announce(version + 10 * MINUTE)
    for payload in (b"", b"{}", b"[1]", b'{"updated_at": "x"}', b'{"updated_at": -1.0}', b"\xff\xfe"):
        await announcer.say(payload)
    await announcer.announce(version)
    await until(lambda: server.parts.hub.knows("abc"), "the good one")
    async with await open_stream(server.url) as stream:
        assert await stream.version() == version
    assert count(server.parts.metrics.ignored, "ahead") >= 1
    assert count(server.parts.metrics.ignored, "invalid") >= 6


async def test_version_that_was_too_far_ahead_is_taken_when_the_clock_has_come_near(
    announcer: Announcer,
) -> None:
    version = now() + MAX_AHEAD + 3_000_000
    await announcer.announce(version)
    async with running(settings_for(announcer.server.url, resync_interval=0.2)) as server:
        await server.ready()
        assert count(server.parts.metrics.ignored, "ahead") >= 1, "the first reading did not take it"
        await announcer.announce(version, key="live")
        await until(lambda: server.parts.hub.knows("abc"), "the version")
        assert count(server.parts.metrics.resyncs, "ahead") >= 1
        await until(lambda: server.parts.hub.knows("live"), "the version that came live")


async def test_refused_message_that_was_seen_does_not_hide_a_stored_one_that_was_not(
    server: Running, announcer: Announcer
) -> None:
    await announcer.announce(now(), key="refused")
    await until(lambda: server.parts.feed._seen.live == 0 and server.parts.hub.knows("refused"), "a comparison")
    refused = now()
    async with announcer.client() as client:
        await client.publish(subject("refused"), encode(refused), headers=dict(expected_sequence(10**6)))
        await client.flush()
    await until(lambda: known(server, "refused") == refused, "the refused message")  # its count goes with a comparison
    await _live_subscription().unsubscribe()
    await announcer.announce(now(), key="missed")
    await until(lambda: server.parts.hub.knows("missed"), "the stored message")


async def test_environments_beyond_the_shared_table_are_counted_and_said_once(
    announcer: Announcer, tmp_path: Path
) -> None:
    settings = settings_for(announcer.server.url, max_environments=16)
    with capture_logs() as lines:
        await _fill_beyond(settings, announcer, tmp_path)
    assert sum("max_environments" in line["event"] for line in lines) == 1


async def _fill_beyond(settings: StreamServerSettings, announcer: Announcer, tmp_path: Path) -> None:
    async with running(settings, Place(versions=str(tmp_path / "versions"))) as server:
        await server.ready()
        for round_ in range(2):
            for number in range(20):
                await announcer.announce(now(), key=f"key-{number}")
            await until(lambda: server.parts.hub.known == 20, f"round {round_}")
        await until(lambda: count(server.parts.metrics.versions_overflowed) == 4, "the figure")


async def test_keys_that_nats_quotes_do_not_reach_the_log(server: Running) -> None:
    quoted = 'nats: permissions violation for publish to "flags.environment.secret-key.updated"'
    with capture_logs() as lines:
        server.parts.feed._on_error(NatsError(quoted))
    [line] = lines
    assert "permissions violation" in line["error"]
    assert "secret-key" not in str(line)


async def test_frozen_broker_keeps_streams_and_new_ones_open_with_the_newest(
    server: Running, announcer: Announcer
) -> None:
    version = now()
    await announcer.announce(version)
    async with await open_stream(server.url) as stream:
        assert (await stream.until(version))[-1] == version
        announcer.server.pause()
        async with await open_stream(server.url) as newcomer:
            assert await newcomer.version() == version
        announcer.server.resume()
        await announcer.announce(version + 1)
        assert await stream.version() == version + 1


async def test_counts_are_answered_for_the_keys_that_were_asked(server: Running, announcer: Announcer) -> None:
    streams = [await open_stream(server.url) for _ in range(3)]
    async with announcer.client() as client:
        request = msgspec.json.encode(CountsRequest(keys=["abc", "none"]))
        answer = await client.request(COUNTS_SUBJECT, request, timeout=5)
        reply = msgspec.json.decode(answer.data, type=CountsReply)
        assert reply.streams == {"abc": 3, "none": 0}
        assert reply.server
        await client.publish(COUNTS_SUBJECT, b"no json", reply="nowhere")
        assert (await client.request(COUNTS_SUBJECT, request, timeout=5)).data
    for stream in streams:
        await stream.close()


async def test_metrics_tell_of_streams_and_changes_and_never_of_keys(server: Running, announcer: Announcer) -> None:
    async with await open_stream(server.url, "secret-key") as stream:
        await stream.chunk()
        await announcer.announce(now(), key="secret-key")
        await stream.version()
        async with await Answer.to(server.url, "/metrics") as answer:
            assert answer.headers["content-type"].startswith("text/plain")
            text = (await answer.content()).decode()
    assert "secret-key" not in text
    for line in (
        "flagstream_streams_open 1.0",
        "flagstream_events_dispatched_total 1.0",
        "flagstream_deliveries_total 1.0",
        "flagstream_feed_lag_seconds_count 1.0",
        "flagstream_nats_connected 1.0",
        "flagstream_ready 1.0",
        "flagstream_versions_known 1.0",
        'flagstream_resyncs_total{cause="start"} 1.0',
    ):
        assert line in text


def _live_subscription() -> Any:
    """Return the feed's own, out of the one feed that runs."""
    [feed] = [task for task in asyncio.all_tasks() if task.get_name() == "feed"]
    client = feed.get_coro().cr_frame.f_locals["client"]  # type: ignore[union-attr] # a coroutine that runs
    [live] = [each for each in client._subs.values() if each.subject == SUBJECTS]
    return live
