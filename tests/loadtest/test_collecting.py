from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadtest.aftermath import Aftermath
from loadtest.collecting import STEP, Collector
from loadtest.composing import composed
from loadtest.curves import Curves, Outside
from loadtest.dividing import Crowd
from loadtest.grid import Grid, GroupPoint, Point
from loadtest.histogram import Histogram
from loadtest.limits import Cores, limits, sharing
from loadtest.messages import GroupSample, Sample
from loadtest.models import Loss
from loadtest.publishing import Announcements
from loadtest.results import Results
from loadtest.scenario.schema import Mix


def sample(process: int, at: float, *groups: GroupSample, busy: float = 0.0, late: float = 0.0) -> Sample:
    return Sample(process=process, at=at, groups=list(groups), cpu=at / 10, rss=1000, busy=busy, late=late, loop=0.001)


def times(*seconds: float) -> list[tuple[int, int]]:
    histogram = Histogram()
    for each in seconds:
        histogram.record(each)
    return histogram.pairs()


def collector(processes: int = 1, groups: int = 1) -> Collector:
    crowds = [
        Crowd(name=f"group-{number}", mix=Mix(model="flagstream", name=f"group-{number}"), target=0, first=0, count=10)
        for number in range(groups)
    ]
    return Collector(crowds, processes, Outside)


def results(collected: Collector, rss_begin: int | None = None) -> Results:
    collected.finish()
    return Results(name="test", verdict="passed", **composed(collected, targets=["origin"], rss_begin=rss_begin))


def test_a_point_waits_for_the_slowest_process_and_adds_all_up() -> None:
    grid = Grid(groups=1, processes=range(2), step=0.25)
    assert not list(grid.take(sample(0, 0.251, GroupSample(open=3, opened=3))))
    assert not list(grid.take(sample(0, 0.502, GroupSample(open=4, opened=1))))
    (point,) = grid.take(sample(1, 0.26, GroupSample(open=10, opened=10)))
    assert point.at == 0.25
    assert point.whole().levels["open"] == 13
    assert point.whole().counts["opened"] == 13
    (point,) = grid.take(sample(1, 0.51, GroupSample(open=9, opened=2)))
    assert point.whole().levels["open"] == 13
    assert point.whole().counts["opened"] == 3


def test_nothing_is_lost_of_samples_that_come_late_or_twice() -> None:
    grid = Grid(groups=1, processes=range(1), step=0.25)
    points = [
        point
        for at in (0.25, 0.26, 1.3, 1.31, 1.4)  # two at once, then a second of silence
        for point in grid.take(sample(0, at, GroupSample(open=5, opened=1)))
    ]
    points += list(grid.rest())
    assert [point.at for point in points] == [0.25 * number for number in range(1, len(points) + 1)]
    assert sum(point.whole().counts["opened"] for point in points) == 5
    assert {point.whole().levels["open"] for point in points} == {5}


def test_a_sample_that_stands_for_a_second_makes_no_peak_of_what_it_counted() -> None:
    collected = collector(processes=2)
    for number in range(1, 17):
        collected.take(sample(0, number * STEP, GroupSample(opened=10)))
        if not 5 <= number < 8:  # for as long it is too busy to say anything
            late = 4 if number == 8 else 1
            collected.take(sample(1, number * STEP + 0.01, GroupSample(opened=11 * late, fetches=3 * late)))
    found = results(collected)
    assert (found.streams.opened, found.fetches.count) == (16 * 21, 16 * 3)
    assert (found.streams.opens_per_s_peak, found.fetches.per_s_peak) == (84, 12)
    assert set(found.series.opens_per_s) == {84.0}


def test_a_process_that_has_gone_holds_nothing_after_its_last_sample() -> None:
    grid = Grid(groups=1, processes=range(2), step=0.25)
    list(grid.take(sample(0, 0.25, GroupSample(open=3))))
    list(grid.take(sample(0, 0.5, GroupSample(open=3, opened=3))))
    list(grid.gone(0))
    points = list(grid.take(sample(1, 0.75, GroupSample(open=2))))
    assert [point.whole().levels["open"] for point in points] == [3, 3, 2]
    assert sum(point.whole().counts["opened"] for point in points) == 3


def test_a_process_that_has_gone_holds_nobody_up() -> None:
    grid = Grid(groups=1, processes=range(2), step=0.25)
    list(grid.take(sample(0, 0.25, GroupSample(open=3))))
    list(grid.take(sample(0, 0.5, GroupSample(open=3))))
    assert [point.at for point in grid.gone(1)] == [0.25, 0.5]


def point(at: float, *, opened: int = 0, still: int = 0, deliveries: tuple[float, ...] = ()) -> Point:
    group = GroupPoint()
    group.levels["open"] = still
    group.counts["opened"] = opened
    group.histograms["delivery"] = Histogram(times(*deliveries))
    return Point(at=at, groups=[group])


def test_curves_of_a_long_run_stay_short_and_keep_their_counts() -> None:
    curves = Curves(["all"], step=0.25, most=16)
    for number in range(1, 1001):
        outside = Outside(published=number, cpu={"server": 0.5} if number > 500 else {}, origin_streams=None)
        curves.add(point(number * 0.25, opened=number % 7, still=number, deliveries=(0.001, 0.002)), outside)
    curves.finish()
    series = curves.series
    assert 8 <= len(series.at_s) <= 16
    curves_of: dict[str, Any] = msgspec.to_builtins(series)
    lengths = [len(curve) for curve in curves_of.values() if isinstance(curve, list)]
    lengths += [len(curve) for curve in series.cpu.values()] + [len(curve) for curve in series.open_by_group.values()]
    assert set(lengths) == {len(series.at_s)}
    assert series.at_s[-1] == 250
    assert series.published[-1] == 1000
    assert series.open[-1] == 1000
    moments = [0.0, *series.at_s]
    opened = sum(
        rate * (end - begin) for rate, begin, end in zip(series.opens_per_s, moments, moments[1:], strict=False)
    )
    assert opened == pytest.approx(sum(number % 7 for number in range(1, 1001)), rel=0.01)
    assert series.delivery_p50_ms[0] == pytest.approx(1.0, rel=0.02)
    assert series.delivery_p99_ms[-1] == pytest.approx(2.0, rel=0.02)
    assert series.cpu["server"][0] == 0
    assert series.cpu["server"][-1] == 0.5


def follow(aftermath: Aftermath, points: list[tuple[float, int, int, int, int]]) -> None:
    """Each point: second, streams open, streams cut, clients that have given up, and those that are still out."""
    before = GroupPoint()
    for at, still, cut, gave_up, out in points:
        now = GroupPoint()
        now.levels["open"], now.levels["gave_up"] = still, gave_up
        now.counts["given_up"] = gave_up - before.levels["gave_up"]
        now.broken, now.hurt = {1: cut}, {1: out}
        aftermath.follow(at, before, now)
        before = now


@pytest.mark.parametrize(
    ("points", "back"),
    [
        ([(1, 100, 0, 0, 0), (2.25, 40, 60, 0, 60), (2.5, 80, 0, 0, 20), (2.75, 97, 0, 0, 0), (3, 90, 0, 0, 3)], 0.75),
        ([(1, 100, 0, 0, 0), (2.25, 100, 0, 0, 0), (2.5, 30, 70, 10, 60), (2.75, 90, 0, 10, 0)], 0.75),
        ([(1, 100, 0, 0, 0), (2.25, 40, 60, 0, 60), (2.5, 99, 0, 0, 1)], None),
        ([(1, 100, 0, 0, 0), (2.25, 40, 60, 0, 60), (2.5, 140, 0, 0, 1)], None),
        ([(1, 100, 0, 0, 0), (2.25, 99, 0, 0, 0), (2.5, 97, 0, 0, 0)], 0.0),
        ([(1, 100, 0, 0, 0), (2.25, 20, 80, 0, 80), (2.5, 99, 0, 0, 0), (2.75, 9, 50, 0, 50), (3, 99, 0, 0, 0)], 1.0),
    ],
    ids=["all", "less_those_who_gave_up", "never", "others_came", "nothing_was_lost", "after_the_last_loss"],
)
def test_all_are_back_when_nobody_who_was_hurt_is_without_a_stream(
    points: list[tuple[float, int, int, int, int]], back: float | None
) -> None:
    aftermath = Aftermath(1, 2.0, "kill worker")
    follow(aftermath, points)
    found = aftermath.results(Histogram())
    assert (found.all_back_s, found.gave_up) == (back, points[-1][3])
    assert aftermath.results(Histogram()).open_before == 100


def test_the_next_fault_ends_the_account_of_the_one_before() -> None:
    collected = collector()
    collected.take(sample(0, 0.25, GroupSample(open=10, clients=10)))
    collected.begin(Aftermath(1, 0.3, "kill worker"), hurts=True)
    collected.take(sample(0, 0.5, GroupSample(open=6, clients=10, broken={1: 4}, hurt={1: 4})))
    collected.begin(Aftermath(2, 0.6, "kill workers"), hurts=True)
    again = {1: times(0.3), 2: times(0.2, 0.2)}
    broken, hurt = {1: 1, 2: 5}, {1: 4, 2: 5}
    collected.take(sample(0, 0.75, GroupSample(open=0, clients=10, broken=broken, hurt=hurt, readmission=again)))
    collected.take(sample(0, 1.0, GroupSample(open=4, clients=10, hurt={2: 5})))
    first, second = results(collected).faults
    assert (first.number, first.lost, first.open_before, first.open_least, first.all_back_s) == (1, 5, 10, 6, 0.7)
    assert (second.number, second.lost, second.open_before, second.open_least) == (2, 5, 6, 0)
    assert second.all_back_s is None
    assert (first.readmission.count, second.readmission.count) == (1, 2)


def test_an_entry_that_hurts_nobody_by_itself_has_what_is_lost_to_whatever_until_the_next_that_does() -> None:
    collected = collector()
    collected.take(sample(0, 0.25, GroupSample(open=10)))
    collected.begin(Aftermath(1, 0.3, "5 times as many clients"), hurts=False)
    collected.take(sample(0, 0.5, GroupSample(open=40, broken={0: 3}, hurt={0: 3})))
    collected.take(sample(0, 0.75, GroupSample(open=50)))
    collected.begin(Aftermath(2, 0.8, "kill worker"), hurts=True)
    collected.take(sample(0, 1.0, GroupSample(open=20, broken={2: 30}, hurt={2: 30})))
    wave, kill = results(collected).faults
    assert (wave.lost, wave.all_back_s) == (3, 0.45)
    assert (kill.lost, kill.all_back_s) == (30, None)


def test_a_loss_counts_for_the_fault_before_it_although_its_sample_is_of_the_same_moment_of_the_grid() -> None:
    collected = collector()
    collected.take(sample(0, 1.77, GroupSample(open=10)))
    collected.begin(Aftermath(1, 2.01, "kill worker"), hurts=True)
    collected.take(sample(0, 2.04, GroupSample(open=4, broken={0: 2, 1: 6})))  # two of them just before it
    (fault,) = results(collected).faults
    assert (fault.lost, fault.open_before) == (6, 10)


def test_results_have_sums_peaks_and_percentiles_of_the_whole_and_of_each_group() -> None:
    collected = collector(processes=2, groups=2)
    for process in (0, 1):
        for number in range(1, 9):
            collected.take(
                sample(
                    process,
                    number * STEP,
                    GroupSample(
                        clients=10,
                        open=number,
                        opened=5,
                        requests=6,
                        behind=2,
                        behind_us=500_000,
                        delivery=times(0.004),
                    ),
                    GroupSample(clients=1, open=1, lost={int(Loss.CLEAN): 1, int(Loss.REFUSED): 2}, errors={"x": 1}),
                )
            )
        collected.ended([1, 0])
    found = results(collected, rss_begin=1000)
    assert found.seconds == 2.0
    assert (found.streams.clients, found.streams.peak, found.streams.at_end) == (22, 18, 18)
    assert (found.streams.opened, found.streams.requests) == (80, 96)
    assert found.streams.opens_per_s_peak == 40
    assert found.streams.ended == 16
    assert found.streams.lost == {"cut": 0, "refused": 32, "status": 0, "silent": 0}
    assert found.delivery.count == 16
    assert found.delivery.p99_ms == pytest.approx(4.0, rel=0.02)
    assert found.staleness.behind_peak == 4
    assert found.staleness.client_seconds == 8.0
    assert found.lost == 2
    assert found.errors == {"x": 16}
    assert [group.name for group in found.groups] == ["group-0", "group-1"]
    assert [group.streams.peak for group in found.groups] == [16, 2]
    assert [group.lost for group in found.groups] == [2, 0]
    assert found.generator.streams_per_process_peak == 9
    assert found.generator.bytes_per_stream == 1000 // 18


def test_the_generator_says_when_it_was_the_limit_and_what_to_do() -> None:
    collected = collector()
    assert not list(limits(collected.own, Announcements(planned=100, late=5)))
    for number in range(1, 5):
        collected.take(sample(0, number * STEP, GroupSample(), busy=0.95, late=0.3))
    collected.own.errors["no descriptor left (EMFILE)"] = 3
    busy, timer, late, errors = limits(collected.own, Announcements(planned=100, late=6))
    assert "busy 1.00 s on end" in busy
    assert "--processes" in busy
    assert "300 ms late" in timer
    assert "6 of 100 changes" in late
    assert "no descriptor left (EMFILE) (3)" in errors


def test_cores_that_servers_and_generator_used_up_together_are_told_apart_from_its_own_limits() -> None:
    cores = Cores()
    cores.turns, cores.full = 100, 11
    (full,) = sharing(cores)
    assert "in use for 11 % of the run" in full
    assert "the generator was the limit" not in full
    assert not list(sharing(None))
    cores.full = 10
    assert not list(sharing(cores))


def test_a_process_too_busy_to_say_so_in_time_was_the_limit() -> None:
    collected = collector()
    collected.take(sample(0, 0.25, GroupSample(), busy=0.2))
    collected.take(sample(0, 1.4, GroupSample(), busy=0.99))
    (warning,) = limits(collected.own, Announcements())
    assert "busy 1.15 s on end" in warning


def test_one_process_that_is_busy_only_at_times_is_no_limit() -> None:
    collected = collector()
    for number in range(1, 20):
        collected.take(sample(0, number * STEP, GroupSample(), busy=0.99 if number % 4 else 0.1))
    assert not list(limits(collected.own, Announcements()))


def test_fetches_that_wait_for_one_of_its_connections_make_the_generator_the_limit() -> None:
    collected = collector()
    collected.take(sample(0, STEP, GroupSample(fetch_queued=times(*[0.001] * 99, 0.9), fetch_answered=times(0.02))))
    assert not list(limits(collected.own, Announcements()))  # one of a hundred, whatever it was
    collected.take(sample(0, 2 * STEP, GroupSample(fetch_queued=times(0.9), fetch_answered=times(0.02))))
    (warning,) = limits(collected.own, Announcements())
    assert "one in a hundred fetches of flags waited 9" in warning
    assert "ulimit -n" in warning
    fetches = results(collected).fetches
    assert (fetches.queued.count, fetches.answered.count) == (101, 2)


def test_cpu_is_told_by_what_it_was_for() -> None:
    collected = collector()
    counted = GroupSample(events=100, requests=10, fetches=5)
    said = Sample(
        process=0,
        at=STEP,
        groups=[counted],
        cpu=1.0,
        cpu_opening=0.4,
        cpu_fetching=0.1,
        cpu_events=0.3,
        rss=0,
        busy=0.0,
        late=0.0,
        loop=0.0,
    )
    collected.take(said)
    found = results(collected).generator
    assert (found.cpu_us_per_event, found.cpu_us_per_open, found.cpu_us_per_fetch) == (3_000, 40_000, 20_000)
