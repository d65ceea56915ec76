"""Results as a storm would give them, from a small simulation of the client models: many clients, two faults."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from loadtest import results as shape
from loadtest.histogram import Histogram
from loadtest.models import MODELS, Loss

STEP = 0.25
MIX = {"flagsmith-python": 0.3, "flagsmith-js": 0.3, "eventsource": 0.15, "flagstream": 0.15, "flagsmith-android": 0.1}
FAULTS = ((0.3, "kill worker", 0.5, 1.0), (0.6, "kill workers", 1.0, 4.0))
"""Share of the run's length at which, what, share of the streams that it ends, seconds until there is a server."""


@dataclass
class Tally:
    """What one group counted."""

    level: Counter[int] = field(default_factory=Counter)
    waiting: Counter[int] = field(default_factory=Counter)
    gave_up: Counter[int] = field(default_factory=Counter)
    behind: Counter[int] = field(default_factory=Counter)
    opens: Counter[int] = field(default_factory=Counter)
    tries: Counter[int] = field(default_factory=Counter)
    losses: Counter[int] = field(default_factory=Counter)
    back: dict[int, Histogram] = field(default_factory=lambda: {1: Histogram(), 2: Histogram()})
    stale: Histogram = field(default_factory=Histogram)
    clients: int = 0


def storm(
    *, clients: int = 15_000, seconds: float = 300.0, seed: int = 1, via: str = "origin", speed: float = 2500.0
) -> shape.Results:
    """Play a storm; `speed` is how many streams a second the servers admit."""
    chance = Random(seed)
    faults = [(share * seconds, what, part, down) for share, what, part, down in FAULTS]
    tallies = {name: Tally() for name in MIX}
    for name, share in MIX.items():
        tally = tallies[name]
        tally.clients = round(clients * share)
        opened = [chance.random() * seconds * 0.08 for _ in range(tally.clients)]
        for moment in opened:
            tally.opens[_at(moment)] += 1
            tally.tries[_at(moment)] += 1
            tally.level[_at(moment)] += 1
    alive = {name: tally.clients for name, tally in tallies.items()}
    lasting: list[dict[str, Any]] = []
    for number, (moment, _, part, down) in enumerate(faults, 1):
        queue: list[tuple[float, int, str, int]] = []
        lost = gave_up = 0
        for name in MIX:
            hurt = round(alive[name] * part)
            tally = tallies[name]
            lost += hurt
            tally.losses[_at(moment)] += hurt
            tally.level[_at(moment)] -= hurt
            wait = MODELS[name].wait(Loss.CUT)
            if wait is None:
                tally.gave_up[_at(moment)] += hurt
                alive[name] -= hurt
                gave_up += hurt
                continue
            tally.waiting[_at(moment)] += hurt
            queue += [
                (moment + wait.seconds(1, MODELS[name].default_retry, chance), client, name, 1)
                for client in range(hurt)
            ]
        heapq.heapify(queue)
        free, last = moment + down, moment
        while queue:
            now, client, name, failures = heapq.heappop(queue)
            tally = tallies[name]
            tally.tries[_at(now)] += 1
            if now < moment + down:
                again = MODELS[name].wait(Loss.REFUSED)
                assert again is not None
                later = now + max(again.seconds(failures + 1, MODELS[name].default_retry, chance), 0.002)
                heapq.heappush(queue, (later, client, name, failures + 1))
                continue
            free = max(free, now) + 1 / speed
            back = free + chance.lognormvariate(-5.5, 0.7)
            tally.opens[_at(back)] += 1
            tally.level[_at(back)] += 1
            tally.waiting[_at(back)] -= 1
            tally.back[number].record(back - moment)
            missed = moment + chance.random() * 0.5
            if missed < back:
                tally.behind[_at(missed)] += 1
                tally.behind[_at(back)] -= 1
                tally.stale.record(back - missed)
            last = max(last, back)
        lasting.append({"lost": lost, "gave_up": gave_up, "last": last - moment})
    return _results(tallies, faults, lasting, clients=clients, seconds=seconds, seed=seed, via=via)


def _at(moment: float) -> int:
    return int(moment / STEP) + 1


def _levels(counter: Counter[int], moments: int) -> list[int]:
    level, levels = 0, []
    for number in range(moments):
        level += counter[number]
        levels.append(level)
    return levels


def _merged(tallies: Sequence[Tally], name: str) -> Counter[int]:
    total: Counter[int] = Counter()
    for tally in tallies:
        total.update(getattr(tally, name))
    return total


def _delivery(level: list[int], chance: Random) -> tuple[Histogram, list[float | None], list[float | None]]:
    whole, middles, slowest = Histogram(), list[float | None](), list[float | None]()
    for number, streams in enumerate(level):
        if number % 2 or not streams:
            middles.append(None)
            slowest.append(None)
            continue
        one = Histogram()
        base = 0.002 + streams * 4e-6 * (1 + chance.random())
        for _ in range(15):
            one.record(base * chance.lognormvariate(0, 0.5), max(1, streams // 15))
        whole.add(one)
        middle, slow = one.percentile(0.5), one.percentile(0.99)
        assert middle is not None
        assert slow is not None
        middles.append(middle * 1e3)
        slowest.append(slow * 1e3)
    return whole, middles, slowest


def _results(
    tallies: dict[str, Tally],
    faults: Sequence[tuple[float, str, float, float]],
    lasting: Sequence[dict[str, Any]],
    *,
    clients: int,
    seconds: float,
    seed: int,
    via: str,
) -> shape.Results:
    chance = Random(seed + 1)
    moments = int(seconds / STEP) + 1
    every = list(tallies.values())
    at = [number * STEP for number in range(moments)]
    level = _levels(_merged(every, "level"), moments)
    opens, tries, losses = (
        [_merged(every, name)[number] / STEP for number in range(moments)] for name in ("opens", "tries", "losses")
    )
    delivery, p50, p99 = _delivery(level, chance)
    behind = _levels(_merged(every, "behind"), moments)
    back = {number: Histogram() for number in (1, 2)}
    stale = Histogram()
    for tally in every:
        stale.add(tally.stale)
        for number, histogram in tally.back.items():
            back[number].add(histogram)
    whole = Histogram()
    for histogram in back.values():
        whole.add(histogram)
    gave_up = sum(each["gave_up"] for each in lasting)
    opened = sum(_merged(every, "opens").values())
    readmission = shape.Readmission(**shape.seconds(whole))
    threshold = readmission.p99_s
    assert threshold is not None
    share = [streams / clients for streams in level]
    pushed = [rate / 2500 for rate in opens]
    return shape.Results(
        name="storm",
        title="Storm: a worker is killed, then all of them; everybody comes back",
        verdict="passed" if threshold <= 30 else "failed",
        reasons=[] if threshold <= 30 else [f"readmission.p99_s is {threshold:.1f}, not <= 30"],
        thresholds=[
            shape.Threshold(figure="lost", condition="== 0", value=0.0, passed=True),
            shape.Threshold(figure="readmission.p99_s", condition="<= 30", value=threshold, passed=threshold <= 30),
            shape.Threshold(
                figure="delivery.p99_ms", condition="<= 500", value=(delivery.percentile(0.99) or 0) * 1e3, passed=True
            ),
        ],
        seconds=seconds,
        streams=shape.Streams(
            clients=clients,
            opened=opened,
            peak=max(level),
            at_end=level[-1],
            requests=sum(_merged(every, "tries").values()),
            connections=sum(_merged(every, "tries").values()),
            opens_per_s_peak=max(opens),
            lost={"cut": sum(each["lost"] for each in lasting), "refused": int(sum(tries) * STEP) - opened},
            gave_up=gave_up,
        ),
        delivery=_delivered(delivery),
        opening=shape.Seconds(**shape.seconds(_spread(chance, -5.5, opened))),
        readmission=readmission,
        staleness=shape.Staleness(
            **shape.seconds(stale), behind_peak=max(behind), client_seconds=sum(behind) * STEP, behind_at_end=0
        ),
        faults=[
            shape.Fault(
                number=number,
                at_s=moment,
                what=what,
                open_before=level[_at(moment) - 1],
                open_least=min(level[_at(moment) : _at(ends)]),
                lost=told["lost"],
                gave_up=told["gave_up"],
                readmission=shape.Readmission(**shape.seconds(back[number])),
                all_back_s=told["last"],
            )
            for number, ((moment, what, _, _), told, ends) in enumerate(
                zip(faults, lasting, [faults[1][0], seconds], strict=True), 1
            )
        ],
        requests=_requests(via, opened, level),
        fetches=shape.Fetches(**shape.seconds(_spread(chance, -4.0, opened // 3)), per_s_peak=820.0),
        publishing=shape.Publishing(
            planned=int(seconds * 2),
            sent=int(seconds * 2),
            accepted=int(seconds * 2),
            p50_ms=1.9,
            p99_ms=7.2,
            max_ms=31.0,
        ),
        errors={"cut": sum(each["lost"] for each in lasting), "connection refused": int(sum(tries) * STEP) - opened},
        groups=[_group(name, tally, moments, via, chance) for name, tally in tallies.items()],
        server=[
            shape.Process(name="stream_server", cpu_s=71.2, rss_peak=412 << 20, rss_begin=88 << 20, rss_end=301 << 20),
            shape.Process(name="publisher", cpu_s=6.4, rss_peak=96 << 20, rss_begin=90 << 20, rss_end=95 << 20),
            shape.Process(name="nats", cpu_s=1.1, rss_peak=24 << 20, rss_begin=18 << 20, rss_end=22 << 20),
        ],
        generator=shape.Generator(
            processes=1,
            streams_per_process_peak=max(level),
            cpu_s=28.4,
            cpu_us_per_event=3.1,
            rss_peak=74 << 20,
            bytes_per_stream=1630,
            busy_peak=0.61,
            late_max_ms=11.0,
            loop_max_ms=9.4,
        ),
        series=shape.Series(
            at_s=at,
            open=level,
            connecting=[0] * moments,
            waiting=_levels(_merged(every, "waiting"), moments),
            gave_up=_levels(_merged(every, "gave_up"), moments),
            behind=behind,
            opens_per_s=opens,
            requests_per_s=tries,
            losses_per_s=losses,
            events_per_s=[streams * 2.0 for streams in level],
            fetches_per_s=[streams * 0.05 for streams in level],
            delivery_p50_ms=p50,
            delivery_p99_ms=p99,
            published=[int(moment * 2) for moment in at],
            generator_busy=[0.05 + 0.2 * part + 0.4 * push for part, push in zip(share, pushed, strict=True)],
            generator_rss=[int((20 << 20) + 1630 * streams) for streams in level],
            cpu={
                "stream_server": [
                    0.03 + 0.2 * part + 1.3 * push * (0.8 + 0.4 * chance.random())
                    for part, push in zip(share, pushed, strict=True)
                ],
                "publisher": [0.02 + 0.01 * chance.random() for _ in at],
                "nats": [0.004 for _ in at],
            },
            rss={
                "stream_server": [int((88 << 20) + 18_000 * streams) for streams in level],
                "publisher": [92 << 20 for _ in at],
                "nats": [20 << 20 for _ in at],
            },
            origin_streams=[2 if via == "edge" and streams else streams for streams in level],
            open_by_group={name: _levels(tally.level, moments) for name, tally in tallies.items()},
        ),
        scenario={
            "title": "Storm",
            "seconds": seconds,
            "clients": {"count": clients, "mix": [{"model": name, "share": share} for name, share in MIX.items()]},
            "local": {"workers": 2, "edge": "varnish" if via == "edge" else "none"},
            "timeline": [{"at": moment, "do": "kill", "part": what.split()[1]} for moment, what, _, _ in faults],
            "thresholds": {"lost": "== 0", "readmission.p99_s": "<= 30"},
        },
        provenance={
            "flagstream": "0.1.0",
            "python": "3.11.7",
            "machine": {"cpu": "AMD EPYC 7R13", "cores": 2, "memory": 8 << 30, "kernel": "6.1.0"},
            "command": ["flagstream", "loadtest", "run", "storm", "--local", "--clients", str(clients)],
            "moment": "2026-11-20T14:03:11Z",
        },
    )


def _spread(chance: Random, middle: float, count: int) -> Histogram:
    histogram = Histogram()
    for _ in range(400):
        histogram.record(chance.lognormvariate(middle, 0.7), max(1, count // 400))
    return histogram


def _delivered(histogram: Histogram) -> shape.Delivery:
    def figure(part: float) -> float | None:
        value = histogram.percentile(part)
        return None if value is None else value * 1e3

    return shape.Delivery(
        count=histogram.count,
        histogram=histogram.pairs(),
        catch_ups=910,
        replays=44,
        p50_ms=figure(0.5),
        p90_ms=figure(0.9),
        p99_ms=figure(0.99),
        p999_ms=figure(0.999),
        max_ms=figure(1.0),
    )


def _requests(via: str, opened: int, level: list[int]) -> shape.Requests:
    if via == "edge":
        return shape.Requests(sent=opened, edge=opened, origin=41, origin_streams_peak=2, edge_clients_peak=max(level))
    return shape.Requests(sent=opened, origin=opened, origin_streams_peak=max(level))


def _group(name: str, tally: Tally, moments: int, via: str, chance: Random) -> shape.GroupResults:
    level = _levels(tally.level, moments)
    back = Histogram()
    for histogram in tally.back.values():
        back.add(histogram)
    delivery = _delivery(level, chance)[0]
    return shape.GroupResults(
        name=name,
        model=name,
        via=via,
        streams=shape.Streams(
            clients=tally.clients,
            opened=sum(tally.opens.values()),
            peak=max(level),
            at_end=level[-1],
            requests=sum(tally.tries.values()),
            lost={"cut": sum(tally.losses.values())},
            gave_up=sum(tally.gave_up.values()),
        ),
        delivery=_delivered(delivery),
        opening=shape.Seconds(**shape.seconds(_spread(chance, -5.5, tally.clients))),
        readmission=shape.Readmission(**shape.seconds(back)),
        staleness=shape.Staleness(**shape.seconds(tally.stale), behind_peak=max(_levels(tally.behind, moments))),
        fetches=tally.clients * 3,
        errors={"cut": sum(tally.losses.values())},
    )
