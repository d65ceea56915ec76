"""Results out of what was collected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loadtest import results
from loadtest.collecting import Collector, Joined
from loadtest.histogram import Histogram
from loadtest.models import Loss
from loadtest.results import seconds

__all__ = ["composed"]

_LOSSES: Final = {loss: loss.name.lower() for loss in Loss if loss is not Loss.CLEAN}


def composed(
    collector: Collector,
    *,
    targets: list[str],
    clock_error: float = 0.0,
    rss_begin: int | None = None,
    was_the_limit: bool = False,
    shared_cores: bool = False,
) -> dict[str, Any]:
    """Return the fields of `Results` that the swarm tells.

    `clock_error` is in seconds; `rss_begin` is what the generators weighed before they held anything.
    """
    whole = collector.whole
    total = whole.total
    return {
        "seconds": round(collector.at, 3),
        **_shared(whole, clock_error),
        "lost": whole.lost,
        "invalid": total.counts["invalid"],
        "errors": _by_frequency(total.errors),
        "faults": [
            aftermath.results(total.readmission.get(aftermath.number, Histogram()))
            for aftermath in collector.aftermaths
        ],
        "fetches": results.Fetches(
            **_in_seconds(total.histograms["fetch"], count=total.counts["fetches"]),
            queued=results.Seconds(**seconds(total.histograms["fetch_queued"])),
            answered=results.Seconds(**seconds(total.histograms["fetch_answered"])),
            failed=total.counts["fetches_failed"],
            older=total.counts["fetches_older"],
            events_dropped=total.counts["events_dropped"],
            per_s_peak=float(whole.fetches_per_s_peak),
        ),
        "groups": [
            results.GroupResults(
                name=crowd.name,
                model=crowd.mix.model,
                via=targets[crowd.target],
                **_shared(joined, clock_error),
                lost=joined.lost,
                fetches=joined.total.counts["fetches"],
                errors=_by_frequency(joined.total.errors),
            )
            for crowd, joined in zip(collector.crowds, collector.groups, strict=True)
        ],
        "generator": _generator(collector, rss_begin, was_the_limit=was_the_limit, shared_cores=shared_cores),
        "series": collector.curves.series,
    }


def _shared(joined: Joined, clock_error: float) -> dict[str, Any]:
    """Return the fields that the whole run and each group have alike."""
    total = joined.total
    readmission = Histogram()
    for times in total.readmission.values():
        readmission.add(times)
    return {
        "streams": _streams(joined),
        "delivery": _delivery(joined, clock_error),
        "opening": results.Seconds(**seconds(total.histograms["opening"])),
        "gap": results.Seconds(**seconds(total.histograms["gap"])),
        "readmission": results.Readmission(**seconds(readmission)),
        "staleness": results.Staleness(
            **seconds(total.histograms["staleness"]),
            behind_peak=joined.peaks["behind"],
            behind_at_end=total.levels["behind"],
            client_seconds=round(total.counts["behind_us"] / 1e6, 3),
        ),
        "duplicates": total.counts["duplicates"],
        "out_of_order": total.counts["out_of_order"],
    }


def _streams(joined: Joined) -> results.Streams:
    total = joined.total
    return results.Streams(
        clients=joined.peaks["clients"],
        opened=total.counts["opened"],
        peak=joined.peaks["open"],
        at_end=total.levels["open"],
        requests=total.counts["requests"],
        connections=total.counts["connections"],
        opens_per_s_peak=float(joined.opens_per_s_peak),
        ended=total.lost.get(Loss.CLEAN, 0),
        replaced=total.counts["replaced"],
        left=total.counts["left"],
        lost={name: total.lost.get(loss, 0) for loss, name in _LOSSES.items()},
        gave_up=total.counts["given_up"],
        deaf=total.levels["deaf"],
    )


def _delivery(joined: Joined, clock_error: float) -> results.Delivery:
    total = joined.total
    histogram = total.histograms["delivery"]
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    found = {name: histogram.percentile(share) for name, share in shares.items()}
    return results.Delivery(
        count=histogram.count,
        **{name: None if took is None else round(took * 1e3, 3) for name, took in found.items()},
        catch_ups=total.counts["catch_ups"],
        replays=total.counts["replays"],
        skipped=total.counts["skipped"],
        skipped_in_stream=total.counts["skipped_in_stream"],
        clock_error_ms=round(clock_error * 1e3, 3),
        histogram=histogram.pairs(),
    )


def _generator(
    collector: Collector, rss_begin: int | None, *, was_the_limit: bool, shared_cores: bool
) -> results.Generator:
    own, whole = collector.own, collector.whole
    counts, peak = whole.total.counts, whole.peaks["open"]
    grown = None if rss_begin is None or not peak else max(0, own.rss_at_peak - rss_begin) // peak
    return results.Generator(
        processes=own.processes,
        streams_per_process_peak=own.most_streams,
        cpu_s=round(own.cpu, 3),
        cpu_us_per_event=_each(own.cpu_events, counts["events"]),
        cpu_us_per_open=_each(own.cpu_opening, counts["requests"]),
        cpu_us_per_fetch=_each(own.cpu_fetching, counts["fetches"]),
        rss_peak=own.rss_peak,
        bytes_per_stream=grown,
        busy_peak=round(own.busy_peak, 4),
        late_max_ms=round(own.late * 1e3, 2),
        loop_max_ms=round(own.loop * 1e3, 2),
        errors=_by_frequency(own.errors),
        was_the_limit=was_the_limit,
        shared_cores=shared_cores,
    )


def _each(seconds: float, times: int) -> float | None:
    """Return what one took, in microseconds."""
    return round(seconds / times * 1e6, 2) if times else None


def _in_seconds(histogram: Histogram, count: int) -> dict[str, Any]:
    return {**seconds(histogram), "count": count}


def _by_frequency(errors: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(errors.items(), key=lambda each: (-each[1], each[0])))
