"""A storm of clients that misbehave in every way they can, and a check of every byte and every count.

    .venv/bin/python -m benchmarks.hostile --seconds 600 --clients 200
    .venv/bin/python -m benchmarks.hostile --seconds 600 --tls
    .venv/bin/python -m benchmarks.hostile --only resets --seed 7

The stream server runs in this process, which publishes while the clients of clients.py come and go. Each
client must get exactly what it asked for: chunks without a flaw, versions in their order, the newest at the start and
at the clean end of a stream, all of them where it reads. When the last has left, streams, timers, connections, tasks,
descriptors and counts of addresses must be back where they were, and no fault logged.

Who does what, and in which pieces, follows from ``--seed``; when, from the machine. The exit status is 1 if anything
was not as it must be.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from benchmarks.hostile.clients import BEHAVIOURS, LIFETIME
from benchmarks.hostile.storm import HEARTBEAT, Storm, run
from benchmarks.hostile.verdict import MOST_CLIENTS
from benchmarks.results import Table
from benchmarks.servers_under_test import NotInstalledError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Let one storm loose; return the exit status."""
    storm = _parsed(arguments)
    try:
        outcome = run(storm)
    except NotInstalledError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    conditions = {"seconds": storm.seconds, "clients": storm.clients, "seed": storm.seed, "tls": storm.tls}
    table = Table(
        row="hostile",
        title=f"{outcome.visits.total()} visits, {outcome.streams} streams to their end, {outcome.told} events, "
        f"{outcome.published} versions, {outcome.conflated} conflated",
        conditions=conditions | {"lifetime_s": LIFETIME, "heartbeat_s": HEARTBEAT},
        columns=("client", "visits"),
        lines=[{"client": name, "visits": count} for name, count in outcome.visits.items()],
        faults=outcome.faults,
    )
    print(table.text())
    return 1 if outcome.faults else 0


def _parsed(arguments: Sequence[str] | None) -> Storm:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = {behaviour.__name__: behaviour for behaviour in BEHAVIOURS}
    parser.add_argument("--seconds", type=float, default=60, help="how long clients come (60)")
    parser.add_argument("--clients", type=int, default=100, help=f"at a time (100), at most {MOST_CLIENTS}")
    parser.add_argument("--visits", type=int, default=1_000_000, help="at most (1000000)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="chance, to be had again (any)")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument("--only", choices=names, nargs="+", default=(), metavar="CLIENT", help=", ".join(names))
    options = parser.parse_args(arguments)
    if not 0 < options.clients <= MOST_CLIENTS:
        parser.error(f"--clients must be 1 to {MOST_CLIENTS}")
    only = tuple(names[name] for name in options.only)
    return Storm(options.seconds, options.clients, options.seed, options.visits, options.tls, only)


if __name__ == "__main__":
    sys.exit(main())
