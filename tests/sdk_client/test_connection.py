"""The connection by many seeds: what the tables say of one random number, here of all of them."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from sdk_client.connection import Action, Close, Connection, Ended, Live, Open
from sdk_client.decoder import Decoder
from sdk_client.headers import retry_after
from sdk_client.reconnect import EndKind

HEAD = {"content-type": "text/event-stream"}
SEEDS = range(50)


def live(seed: int = 1, headers: dict[str, str] | None = None) -> Connection:
    """A connection whose stream 1 went live at the time 0."""
    connection = Connection(random=Random(seed))
    assert connection.start(0.0) == [Open(1)]
    assert connection.opened(1, 200, HEAD | (headers or {}), 0.0) == [Live(1, 0.0)]
    return connection


def end_of(actions: list[Action]) -> Ended:
    (end,) = [each for each in actions if isinstance(each, Ended)]
    return end


def test_after_a_clean_end_waits_are_spread_over_two_seconds() -> None:
    waits = [end_of(live(seed).ended(1, 30.0)).wait or 0.0 for seed in SEEDS]
    assert 0 <= min(waits) < 0.4
    assert 1.6 < max(waits) <= 2.0


def test_the_next_stream_is_opened_at_moments_spread_between_the_join_window_and_the_end() -> None:
    moments = [live(seed, {"x-stream-lifetime": "30", "x-stream-join-window": "20"}).deadline for seed in SEEDS]
    assert 21 <= min(moments) < 22
    assert 27 < max(moments) <= 28


@pytest.mark.parametrize("lifetime", [3.0, 4.0, 5.5, 7.5, 10.0, 30.0, 300.0, 3600.0])
@pytest.mark.parametrize("age", [0, 1, 2, 20, 3599])
@pytest.mark.parametrize("window", [0, 1, 20, 299, 3600])
def test_a_stream_is_replaced_before_its_end_and_never_within_a_second(lifetime: float, age: int, window: int) -> None:
    headers = {"x-stream-lifetime": str(lifetime), "x-stream-join-window": str(window), "age": str(age)}
    left = lifetime - age
    for seed in range(10):
        connection = Connection(random=Random(seed), heartbeat=3600.0)
        connection.start(0.0)
        connection.opened(1, 200, HEAD | headers, 0.0)
        if left < 3:
            assert connection.deadline == max(left, 0) + 5, "only the watchdog"
        else:
            assert 1 <= connection.deadline <= left - 1.3
            assert connection.deadline >= min(window - age + 1, left * 0.9 - 2)


def rate_of(connection: Connection, seconds: float, lived: float, *, clean: bool) -> int:
    """How many streams a connection opens in `seconds`, each ending after `lived`."""
    now, opens = 0.0, [each for each in connection.start(0.0) if isinstance(each, Open)]
    while now < seconds:
        stream = opens[-1].stream
        connection.opened(stream, 200, HEAD, now)
        now += lived
        if clean:
            connection.ended(stream, now)
        else:
            connection.failed(stream, "cut", now)
        now = connection.deadline
        opens += [each for each in connection.tick(now) if isinstance(each, Open)]
    return len(opens)


@pytest.mark.parametrize(
    ("lived", "clean", "most"),
    [(0.0, True, 30), (0.5, True, 30), (0.0, False, 30), (1.0, True, 120), (2.0, False, 30), (10.0, False, 20)],
)
def test_requests_stay_under_a_rate_whatever_the_server_does(lived: float, clean: bool, most: int) -> None:
    for seed in SEEDS:
        opens = rate_of(Connection(random=Random(seed)), 180.0, lived, clean=clean)
        assert opens <= most, "in three minutes"
        assert opens >= 5, "it never gives up"


def test_failures_back_off_with_full_jitter_up_to_a_cap_above_the_floor() -> None:
    connection = Connection(random=Random(7))
    connection.start(0.0)
    now, waits = 0.0, []
    for failure in range(1, 400):
        end = end_of(connection.failed(failure, "refused", now))
        assert end.failures == failure
        assert end.wait is not None
        assert 1.0 <= end.wait <= 1.0 + min(30.0, 2.0 ** (failure - 1))
        waits.append(end.wait - 1.0)
        now = connection.deadline
        connection.tick(now)
    late = waits[10:]
    assert min(late) < 2.0
    assert max(late) > 28.0
    assert 13.0 < sum(late) / len(late) < 17.0, "uniform over the whole"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1000000", 300.0),
        ("-1", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("nan", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 20.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(text: str, seconds: float) -> None:
    assert retry_after({"retry-after": text}, now=1445412460.0) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (500, {}, "answered 500"),
        (204, HEAD, "answered 204"),
        (301, {"location": "/"}, "answered 301"),
        (200, {"content-type": "text/html"}, "answered with text/html, not an event stream"),
        (200, {"content-type": "text/event-streams"}, "not an event stream"),
        (200, {}, "no content type"),
    ],
)
def test_a_refusal_says_what_came_instead_of_a_stream(status: int, headers: dict[str, str], reason: str) -> None:
    connection = Connection(random=Random(1))
    connection.start(0.0)
    close, ended = connection.opened(1, status, headers, 0.1)
    assert close == Close(1)
    assert isinstance(ended, Ended)
    assert ended.end.kind is EndKind.REFUSED
    assert reason in ended.end.reason


@pytest.mark.parametrize(
    "headers",
    [
        {"x-stream-lifetime": "soon"},
        {"x-stream-lifetime": "-1"},
        {"x-stream-lifetime": "nan", "x-stream-join-window": "20"},
        {"x-stream-join-window": "20"},
    ],
)
def test_a_lifetime_that_makes_no_sense_counts_as_none(headers: dict[str, str]) -> None:
    assert live(headers=headers).deadline == 45.0


def test_an_id_is_told_when_the_stream_is_opened_again_and_only_where_the_server_sent_one() -> None:
    connection = live()
    connection.received(1, b"id: 7\ndata: x\n\nid: 8\ndata: cut off", 1.0)
    connection.ended(1, 5.0)
    assert connection.tick(connection.deadline) == [Open(2, "7")]
    connection.opened(2, 200, HEAD, 8.0)
    connection.ended(2, 12.0)
    assert connection.tick(connection.deadline) == [Open(3, "7")], "a stream without ids does not forget it"


def test_limits_are_those_of_the_decoder_it_is_given() -> None:
    connection = Connection(random=Random(1), decoder=partial(Decoder, max_line=10))
    connection.start(0.0)
    connection.opened(1, 200, HEAD, 0.0)
    assert end_of(connection.received(1, b"data: 12345678\n", 0.0)).end.kind is EndKind.LIMIT


def test_what_a_stream_that_was_left_still_says_changes_nothing() -> None:
    connection = live()
    connection.failed(1, "cut", 5.0)
    deadline = connection.deadline
    assert connection.received(1, b"data: x\n\n", 5.1) == []
    assert connection.ended(1, 5.2) == []
    assert connection.failed(1, "cut", 5.3) == []
    assert connection.opened(1, 200, HEAD, 5.4) == [Close(1)]
    assert connection.deadline == deadline
