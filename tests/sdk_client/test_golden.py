"""The bytes that the stream server is tested to write, as the client reads them."""

from __future__ import annotations

from pathlib import Path
from random import Random

from sdk_client.connection import Connection, Live
from sdk_client.decoder import Comment, Decoder, Event, Item, Retry
from sdk_client.subscription import Subscription

GOLDEN = Path(__file__).parent.parent / "golden"
VERSION = 1_735_229_888_760_123


def items_of(name: str) -> list[Item]:
    return list(Decoder().feed((GOLDEN / name).read_bytes()))


def test_an_event_is_the_type_and_the_number() -> None:
    assert items_of("stream_event.sse") == [Event("environment_updated", '{"updated_at": 1735229888.7601228}', "")]


def test_an_opening_tells_the_newest_version_and_the_retry() -> None:
    retry, event = items_of("stream_opening.sse")
    assert isinstance(retry, Retry)
    assert isinstance(event, Event)
    assert [type(item) for item in items_of("stream_opening_unknown.sse")] == [Retry]


def test_a_heartbeat_is_a_comment() -> None:
    assert [type(item) for item in items_of("stream_heartbeat.sse")] == [Comment]


def test_events_announce_their_exact_versions() -> None:
    machine = Subscription(random=Random(1))
    machine.follow(0.0)
    machine.opened(1, 200, {"content-type": "text/event-stream"}, 0.0)
    for name, version in (("event_whole_second", 1_735_229_888_000_000), ("event", VERSION), ("opening", VERSION)):
        machine.received(1, (GOLDEN / f"stream_{name}.sse").read_bytes(), 0.0)
        assert machine.refetch.wanted == version


def test_the_head_of_a_response_opens_a_stream_with_the_announced_lifetime() -> None:
    head, _, _ = (GOLDEN / "stream_response.http").read_bytes().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    connection = Connection(random=Random(1))
    connection.start(0.0)
    assert connection.opened(1, int(status.split()[1]), headers, 0.0) == [Live(1, 0.0)]
    assert 21 <= connection.deadline <= 28, "the next stream is opened after the join window, before the end"
