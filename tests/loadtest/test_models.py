"""The client models: ours is held to the SDK itself, the others to what is known of them."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest

from loadtest.models import MODELS, Fetching, Loading, Loss, Model, Wait
from loadtest.models.catalogue import AT_ONCE
from loadtest.replacing import replace_after, replacing_window
from sdk_client import headers as header_rules
from sdk_client.reconnect import CLEAN_WAIT, LIVED, PROVEN, End, EndKind, Reconnect
from sdk_client.refetch import GAP, SETTLE
from sdk_client.stream import HEARTBEATS_MISSED, OVERDUE, Stream

OURS: Final = MODELS["flagstream"]
MANUAL: Final = Path(__file__).parents[2] / "docs" / "loadtest-models.md"

ENDS: Final = {
    Loss.CUT: EndKind.CUT,
    Loss.REFUSED: EndKind.UNREACHABLE,
    Loss.STATUS: EndKind.REFUSED,
    Loss.SILENT: EndKind.SILENT,
}


def _end(loss: Loss, lived: float) -> End:
    return End.clean(lived) if loss is Loss.CLEAN else End(ENDS[loss], "a test", max(0.0, lived))


def _lived(loss: Loss, chance: Random) -> float:
    """Return how long a stream lived that was lost in this way; negative where there was none."""
    if loss in (Loss.REFUSED, Loss.STATUS):
        return -1.0
    return chance.choice((0.0, LIVED / 2, LIVED, PROVEN / 2, PROVEN, 3 * PROVEN, chance.uniform(0.0, 2 * PROVEN)))


# Ours, held to the SDK


@pytest.mark.parametrize("seed", range(40))
def test_ours_waits_to_the_last_digit_as_long_as_the_sdk_does(seed: int) -> None:
    story, ours, theirs = Random(seed), Random(seed), Random(seed)
    sdk = Reconnect(theirs)
    failures = 0
    for _ in range(100):
        if story.random() < 0.1:
            sdk.advise(story.choice((0.0, 0.5, 2.0, 3.0, 15.0, 60.0)))
        loss = Loss(story.choice(list(Loss)))
        lived = _lived(loss, story)
        counted = OURS.counts_as(loss, lived)
        failures = OURS.failures(failures, counted, lived)
        wait = OURS.wait(counted)
        assert wait is not None
        assert wait.seconds(failures, sdk.retry, ours) == sdk.after(_end(loss, lived))
        assert failures == sdk.failures


@pytest.mark.parametrize("retry", [0.0, 2.0, 60.0], ids="retry={}".format)
@pytest.mark.parametrize("loss", list(ENDS), ids=lambda loss: loss.name.lower())
def test_ours_has_the_bounds_of_the_sdk_through_forty_failures(loss: Loss, retry: float) -> None:
    wait = OURS.wait(loss)
    assert wait is not None
    for draw in (0.0, math.nextafter(1.0, 0.0)):
        sdk = Reconnect(_Drawn(draw))
        sdk.advise(retry)
        for failures in range(1, 41):
            waited = wait.seconds(failures, retry, _Drawn(draw))
            assert waited == sdk.after(End(ENDS[loss], "a test"))
            assert max(1.0, retry) <= waited <= max(1.0, retry) + min(30.0, 2.0 ** (failures - 1))


class _Drawn(Random):
    """Draws the same number always."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self._number = number

    def random(self) -> float:
        return self._number


def test_ours_bears_what_the_sdk_bears() -> None:
    assert (OURS.short, OURS.proven, OURS.overdue) == (LIVED, PROVEN, OVERDUE)
    assert OURS.silence == HEARTBEATS_MISSED * 15.0
    assert OURS.clean == Wait(random=CLEAN_WAIT)
    assert (OURS.settle, OURS.fetches_apart) == (SETTLE, GAP)


@pytest.mark.parametrize("seed", range(20))
def test_the_next_stream_is_opened_when_the_sdk_opens_it(seed: int) -> None:
    story, ours, theirs = Random(seed), Random(seed), Random(seed)
    for _ in range(200):
        head = _head(story)
        left, joined = header_rules.remaining_lifetime(head), header_rules.remaining_join_window(head)
        expected = Stream(1, head, now=0.0, heartbeat=15.0).replace_at(theirs)
        assert replace_after(left or 0.0, joined or 0.0, ours) == expected


def _head(story: Random) -> dict[str, str]:
    lifetime = story.choice((2.0, 3.0, 4.0, 5.5, 10.0, 30.0, 31.7, 3600.0, story.uniform(0.0, 100.0)))
    head = {
        "x-stream-lifetime": f"{lifetime:.3f}",
        "x-stream-join-window": f"{lifetime * story.random():.3f}",
        "age": str(story.randrange(0, int(lifetime) + 3)),
    }
    return {name: value for name, value in head.items() if story.random() < 0.8}


def test_no_stream_is_replaced_while_an_edge_still_adds_clients_to_it() -> None:
    assert replacing_window(30.0, 20.0) == (21.0, 28.0)
    assert replacing_window(10.0, 0.0) == (1.0, 8.0)


def test_a_stream_that_is_nearly_over_is_not_replaced() -> None:
    assert replacing_window(2.9, 1.0) is None
    assert replace_after(2.9, 1.0, Random(1)) is None


def test_a_join_window_that_is_too_wide_leaves_the_last_moment() -> None:
    assert replacing_window(10.0, 20.0) == (8.0, 8.0)


# The others, held to what is known of them

NEVER: Final = None


def _bounds(model: Model, loss: Loss, failures: int = 1) -> tuple[float, float] | None:
    """Return the least and the most that `model` waits, None where it never comes back."""
    wait = model.wait(loss)
    if wait is None:
        return None
    retry = model.default_retry
    low, high = (wait.seconds(failures, retry, _Drawn(draw)) for draw in (0.0, 1.0))
    return low, high


@pytest.mark.parametrize(
    ("name", "loss", "expected"),
    [
        ("flagsmith-python", Loss.CLEAN, (0.005, 0.005)),
        ("flagsmith-python", Loss.CUT, (1.0, 1.0)),
        ("flagsmith-python", Loss.REFUSED, (1.0, 1.0)),
        ("flagsmith-python", Loss.STATUS, (0.001, 0.001)),
        ("flagsmith-python-5", Loss.CLEAN, (0.005, 0.005)),
        ("flagsmith-python-5", Loss.CUT, (0.0015, 0.0015)),
        ("flagsmith-python-5", Loss.REFUSED, (0.0005, 0.0005)),
        ("flagsmith-python-5", Loss.STATUS, (0.001, 0.001)),
        ("flagsmith-js", Loss.CLEAN, (0.0, 3.0)),
        ("flagsmith-js", Loss.CUT, (0.0, 3.0)),
        ("flagsmith-js", Loss.REFUSED, (0.0, 3.0)),
        ("flagsmith-js", Loss.STATUS, (0.0, 3.0)),
        ("flagsmith-ios", Loss.CLEAN, (0.005, 0.005)),
        ("flagsmith-ios", Loss.CUT, (1.0, 1.0)),
        ("flagsmith-ios", Loss.REFUSED, (1.0, 1.0)),
        ("flagsmith-ios", Loss.STATUS, (0.005, 0.005)),
        ("flagsmith-android", Loss.CLEAN, (0.005, 0.005)),
        ("flagsmith-android", Loss.CUT, NEVER),
        ("flagsmith-android", Loss.REFUSED, NEVER),
        ("flagsmith-android", Loss.STATUS, NEVER),
        ("flagsmith-android", Loss.SILENT, NEVER),
        ("flagsmith-go", Loss.CLEAN, (0.0003, 0.0003)),
        ("flagsmith-go", Loss.CUT, (0.2, 0.2)),
        ("flagsmith-go", Loss.REFUSED, (0.2, 0.2)),
        ("flagsmith-go", Loss.STATUS, (0.2, 0.2)),
        ("eventsource", Loss.CLEAN, (3.0, 3.0)),
        ("eventsource", Loss.CUT, (3.0, 3.0)),
        ("eventsource", Loss.REFUSED, (3.0, 3.0)),
        ("eventsource", Loss.STATUS, NEVER),
        ("flagstream", Loss.CLEAN, (0.0, 2.0)),
        ("flagstream", Loss.CUT, (1.0, 2.0)),
        ("flagstream", Loss.REFUSED, (1.0, 2.0)),
        ("flagstream", Loss.STATUS, (1.0, 2.0)),
        ("flagstream", Loss.SILENT, (1.0, 2.0)),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Loss) else None,
)
def test_the_first_wait_is_the_one_known_of_the_client(
    name: str, loss: Loss, expected: tuple[float, float] | None
) -> None:
    assert _bounds(MODELS[name], loss) == expected


@pytest.mark.parametrize("name", ["flagsmith-python", "flagsmith-python-5", "flagsmith-js", "eventsource"])
def test_clients_without_a_back_off_wait_no_longer_after_many_failures(name: str) -> None:
    model = MODELS[name]
    assert [_bounds(model, loss, 40) for loss in Loss] == [_bounds(model, loss) for loss in Loss]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flagsmith-ios", [1, 2, 4, 8, 16, 32, 60, 60]),
        ("flagsmith-go", [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 51.2]),
    ],
)
def test_a_back_off_doubles_to_its_cap(name: str, expected: list[float]) -> None:
    wait = MODELS[name].wait(Loss.REFUSED)
    assert wait is not None
    waits = [wait.seconds(failures, 0.0, Random(failures)) for failures in range(1, len(expected) + 1)]
    assert waits == pytest.approx(expected)


@pytest.mark.parametrize("failures", [1, 9, 40])
def test_go_adds_the_fraction_of_the_second_that_its_clock_shows_and_no_other_client_does(failures: int) -> None:
    for name, model in MODELS.items():
        waits = [wait for loss in Loss if (wait := model.wait(loss)) is not None]
        at_whole, later = (
            [wait.seconds(failures, 0.0, _Drawn(0.5), clock) for wait in waits] for clock in (1_700_000_000.0, 7.25)
        )
        added = [0.25 if name == "flagsmith-go" and wait is not model.clean else 0.0 for wait in waits[:4]]
        assert [after - before for before, after in zip(at_whole, later, strict=True)][:4] == pytest.approx(added)


def test_only_go_waits_with_its_first_stream_for_a_fetch_that_does_not_fail() -> None:
    assert {name: model.reload for name, model in MODELS.items() if model.reload} == {
        "flagsmith-go": MODELS["flagsmith-go"].wait(Loss.REFUSED)
    }


@pytest.mark.parametrize("name", ["flagsmith-ios", "flagsmith-go"])
def test_any_stream_makes_the_next_failure_the_first_again(name: str) -> None:
    model = MODELS[name]
    assert model.failures(7, Loss.REFUSED, -1.0) == 8
    assert model.failures(7, Loss.CUT, 0.1) == 1
    assert model.failures(7, Loss.CLEAN, 0.1) == 0


def test_a_stream_over_at_once_is_a_hot_loop_for_pythons_sdk() -> None:
    model = MODELS["flagsmith-python"]
    assert model.wait(model.counts_as(Loss.CLEAN, 0.0)) == Wait(fixed=0.001)
    assert model.wait(model.counts_as(Loss.CLEAN, 30.0)) == AT_ONCE


@pytest.mark.parametrize("name", ["flagsmith-ios", "flagsmith-android", "flagsmith-go", "eventsource"])
def test_an_empty_stream_is_a_clean_end_for_clients_that_look_at_the_head_alone(name: str) -> None:
    assert MODELS[name].counts_as(Loss.CLEAN, 0.0) is Loss.CLEAN


def test_a_browser_waits_what_the_server_asks_for() -> None:
    wait = MODELS["eventsource"].wait(Loss.CUT)
    assert wait is not None
    assert wait.seconds(5, 2.0, Random(1)) == 2.0


@pytest.mark.parametrize("name", [name for name in MODELS if name not in {"eventsource", "flagstream"}])
def test_no_published_sdk_obeys_retry(name: str) -> None:
    waits = [MODELS[name].wait(loss) for loss in Loss]
    assert not any(wait.obeys_retry for wait in waits if wait is not None)


def test_only_ours_opens_its_next_stream_before_the_old_one_ends() -> None:
    assert [name for name, model in MODELS.items() if model.replaces] == ["flagstream"]


def test_a_failed_fetch_silences_the_js_sdk_alone() -> None:
    assert [name for name, model in MODELS.items() if model.deaf_after_failed_fetch] == ["flagsmith-js"]
    assert [name for name, model in MODELS.items() if model.drops_while_fetching] == ["flagsmith-js"]


def test_servers_fetch_the_whole_environment_before_their_first_stream() -> None:
    servers = ["flagsmith-python", "flagsmith-python-5", "flagsmith-go"]
    assert [name for name, model in MODELS.items() if model.fetches_document] == servers
    assert [name for name, model in MODELS.items() if model.loads is Loading.BEFORE] == servers


def test_the_ios_sdk_alone_fetches_at_every_event() -> None:
    assert [name for name, model in MODELS.items() if model.fetching is Fetching.EVERY] == ["flagsmith-ios"]


# All of them


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_a_model_goes_to_a_generator_and_comes_back_the_same(model: Model) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(model), type=Model) == model


def test_names_and_titles_are_unique() -> None:
    assert [model.name for model in MODELS.values()] == list(MODELS)
    assert len(MODELS) == len({model.title for model in MODELS.values()}) == 8


@pytest.mark.parametrize("name", MODELS)
def test_the_manual_says_where_the_figures_of_a_model_are_from(name: str) -> None:
    assert f"\n| `{name}` " in MANUAL.read_text() or f"\n| `{name}`, " in MANUAL.read_text()


def test_the_losses_that_no_client_comes_back_from_are_the_known_ones() -> None:
    lost = {(name, loss) for name, model in MODELS.items() for loss in Loss if model.wait(loss) is None}
    android = {("flagsmith-android", loss) for loss in Loss if loss is not Loss.CLEAN}
    assert lost == {*android, ("eventsource", Loss.STATUS)}


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_who_bears_silence_for_ever_needs_no_wait_after_it(model: Model) -> None:
    assert math.isinf(model.silence) == (model.silent == Wait())


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_no_wait_grows_beyond_a_day_or_below_nothing(model: Model) -> None:
    for loss in Loss:
        for failures in (0, 1, 2, 40, 1_000_000):
            bounds = _bounds(model, loss, failures)
            assert bounds is None or 0.0 <= bounds[0] <= bounds[1] < 86_400.0
