from __future__ import annotations

from random import Random

import pytest

from sdk_client import Backoff
from sdk_client.connection import Close, Connection, Deliver, Intention, Live, Open, State, Wait
from sdk_client.headers import retry_after
from tests.sdk_client.scripted import V1, V2, V3, event

HEAD = {"content-type": "text/event-stream"}
SEEDS = range(50)


def live(seed: int = 1, headers: dict[str, str] | None = None) -> Connection:
    """A connection whose stream opened at the time 0."""
    connection = Connection(random=Random(seed))
    assert connection.start(0.0) == [Open()]
    assert connection.opened(200, HEAD | (headers or {}), 0.0) == [Live()]
    return connection


def wait_of(intentions: list[Intention]) -> Wait:
    (wait,) = [each for each in intentions if isinstance(each, Wait)]
    return wait


def test_it_opens_delivers_waits_and_opens_again() -> None:
    connection = live()
    assert connection.received(event(V1), 1.0) == [Deliver(V1)]
    wait = wait_of(connection.ended(5.0))
    assert connection.state is State.WAITING
    assert connection.deadline == 5.0 + wait.seconds
    assert connection.tick(connection.deadline - 0.001) == []
    assert connection.tick(connection.deadline) == [Open()]


def test_versions_only_grow_within_a_stream_and_each_stream_tells_its_newest_again() -> None:
    connection = live()
    assert connection.received(event(V2) + event(V1) + event(V2) + event(V3), 1.0) == [Deliver(V2), Deliver(V3)]
    connection.ended(5.0)
    connection.tick(connection.deadline)
    connection.opened(200, HEAD, 8.0)
    assert connection.received(event(V3), 8.0) == [Deliver(V3)], "a fetch that was given up gets another chance"


def test_other_events_and_nonsense_are_passed_over() -> None:
    connection = live()
    body = (
        b'event: other\ndata: {"updated_at": 5.5}\n\n' + b"event: environment_updated\ndata: what\n\n" + b": ping\n\n"
    )
    assert connection.received(body + event(V1), 1.0) == [Deliver(V1)]


def test_after_a_clean_end_the_next_stream_comes_within_two_seconds_and_no_error_is_counted() -> None:
    waits = []
    for seed in SEEDS:
        wait = wait_of(live(seed).ended(30.0))
        assert not wait.end.is_error
        assert wait.failures == 0
        waits.append(wait.seconds)
    assert 0 <= min(waits) < 0.4
    assert 1.6 < max(waits) <= 2.0, "spread over the whole two seconds"


def test_a_stream_that_lived_under_a_second_is_an_error_even_when_it_ends_cleanly() -> None:
    wait = wait_of(live().ended(0.99))
    assert wait.end.is_error
    assert wait.failures == 1


def rate_of(connection: Connection, seconds: float, lived: float, *, clean: bool) -> int:
    """How many streams a connection opens in `seconds`, each ending after `lived`."""
    now = 0.0
    opens = len([each for each in connection.start(now) if isinstance(each, Open)])
    while now < seconds:
        connection.opened(200, HEAD, now)
        now += lived
        if clean:
            connection.ended(now)
        else:
            connection.failed("cut", now)
        now = connection.deadline
        opens += len([each for each in connection.tick(now) if isinstance(each, Open)])
    return opens


@pytest.mark.parametrize(
    ("lived", "clean", "most"),
    [(0.0, True, 30), (0.5, True, 30), (0.0, False, 30), (1.0, True, 120), (1.1, False, 90)],
)
def test_requests_stay_under_a_rate_whatever_the_server_does(lived: float, clean: bool, most: int) -> None:
    for seed in SEEDS:
        opens = rate_of(Connection(random=Random(seed)), 180.0, lived, clean=clean)
        assert opens <= most, "in three minutes"
        assert opens >= 5, "it never gives up"


def test_failures_back_off_with_full_jitter_up_to_a_cap_above_the_floor() -> None:
    connection = Connection(random=Random(7), backoff=Backoff(base=1.0, cap=30.0))
    connection.start(0.0)
    now, waits = 0.0, []
    for failure in range(1, 400):
        wait = wait_of(connection.failed("refused", now))
        assert wait.failures == failure
        assert 1.0 <= wait.seconds <= 1.0 + min(30.0, 2.0 ** (failure - 1))
        waits.append(wait.seconds - 1.0)
        now = connection.deadline
        connection.tick(now)
    late = waits[10:]
    assert min(late) < 2.0
    assert max(late) > 28.0
    assert 13.0 < sum(late) / len(late) < 17.0, "uniform over the whole"


def test_back_off_starts_over_only_after_a_stream_has_lived() -> None:
    connection = Connection(random=Random(1))
    connection.start(0.0)
    now = 0.0
    for lived, failures in [(0.0, 1), (0.5, 2), (0.9, 3), (1.0, 1), (0.2, 2)]:
        connection.opened(200, HEAD, now)
        assert wait_of(connection.failed("cut", now + lived)).failures == failures
        now = connection.deadline
        connection.tick(now)


def test_retry_is_the_least_wait_after_an_error_on_this_stream_and_later_ones_but_not_after_a_clean_end() -> None:
    for seed in SEEDS:
        connection = live(seed)
        connection.received(b"retry: 7000\n\n", 0.1)
        assert 7.0 <= wait_of(connection.failed("cut", 5.0)).seconds <= 8.0
        connection.tick(connection.deadline)
        assert wait_of(connection.failed("refused", 20.0)).seconds >= 7.0
        connection = live(seed)
        connection.received(b"retry: 7000\n\n", 0.1)
        assert wait_of(connection.ended(30.0)).seconds <= 2.0


@pytest.mark.parametrize(("retry", "least"), [(b"999999999999999999", 60.0), (b"0", 1.0)])
def test_a_retry_of_days_is_cut_to_a_minute_and_one_of_nothing_is_a_second(retry: bytes, least: float) -> None:
    connection = live()
    connection.received(b"retry: " + retry + b"\n\n", 0.1)
    assert least <= wait_of(connection.failed("cut", 5.0)).seconds <= least + 1.0


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
        (404, HEAD, "answered 404"),
        (204, HEAD, "answered 204"),
        (301, {"location": "/"}, "answered 301"),
        (200, {"content-type": "text/html"}, "answered with text/html, not an event stream"),
        (200, {"content-type": "text/event-streams"}, "not an event stream"),
        (200, {}, "no content type"),
    ],
)
def test_an_answer_that_is_no_stream_is_left_and_backs_off(status: int, headers: dict[str, str], reason: str) -> None:
    connection = Connection(random=Random(1))
    connection.start(0.0)
    close, wait = connection.opened(status, headers | {"retry-after": "9"} if status == 500 else headers, 0.1)
    assert close == Close()
    assert isinstance(wait, Wait)
    assert reason in wait.end.reason
    assert wait.failures == 1
    assert wait.seconds >= (9.0 if status == 500 else 1.0)


@pytest.mark.parametrize(
    "content_type", ["text/event-stream", "text/event-stream; charset=utf-8", "TEXT/Event-Stream ;x"]
)
def test_the_content_type_may_have_parameters(content_type: str) -> None:
    connection = Connection(random=Random(1))
    connection.start(0.0)
    assert connection.opened(200, {"content-type": content_type}, 0.0) == [Live()]


def test_three_silent_heartbeats_end_a_stream_and_any_bytes_are_a_sign_of_life() -> None:
    connection = live()
    assert connection.deadline == 45.0
    assert connection.received(b": pi", 40.0) == []
    assert connection.deadline == 85.0
    assert connection.tick(84.9) == []
    close, wait = connection.tick(85.0)
    assert close == Close()
    assert isinstance(wait, Wait)
    assert wait.end.reason == "the stream fell silent"


@pytest.mark.parametrize(
    ("headers", "deadline"),
    [
        ({"x-stream-lifetime": "30"}, 35.0),
        ({"x-stream-lifetime": "30", "age": "12"}, 23.0),
        ({"x-stream-lifetime": "30", "age": "99"}, 5.0),
        ({"x-stream-lifetime": "300"}, 45.0),
        ({"x-stream-lifetime": "soon"}, 45.0),
        ({"x-stream-lifetime": "-1"}, 45.0),
        ({"x-stream-lifetime": "30", "age": "old"}, 35.0),
    ],
)
def test_a_stream_is_given_up_five_seconds_after_the_lifetime_it_announced(
    headers: dict[str, str], deadline: float
) -> None:
    connection = live(headers=headers)
    assert connection.deadline == deadline
    connection.received(b": ping\n\n", 1.0)
    assert connection.deadline == min(46.0, deadline if "soon" not in headers.values() and deadline != 45.0 else 46.0)


def test_a_server_that_takes_the_connection_and_says_nothing_is_left() -> None:
    connection = Connection(random=Random(1), open_timeout=10.0)
    connection.start(0.0)
    assert connection.tick(9.9) == []
    close, wait = connection.tick(10.0)
    assert close == Close()
    assert isinstance(wait, Wait)
    assert wait.end.reason == "the server did not answer in time"


def test_a_line_without_end_closes_the_stream_with_a_clear_reason() -> None:
    connection = live()
    deliver, close, wait = connection.received(event(V1) + b"x" * 70_000, 2.0)
    assert deliver == Deliver(V1)
    assert close == Close()
    assert isinstance(wait, Wait)
    assert "longer than 65536 bytes" in wait.end.reason
    assert connection.received(b"more", 2.1) == []
