"""Run pytest while random processes of the run are frozen for moments, one at a time.

A machine that has other things to do holds processes up at any place. What two processes do in an order that only
speed gives them, and what a test sees only if it looks in time, comes out here within minutes:

    scripts/shake tests/publisher -n 2
    SHAKE_LONGEST=3 scripts/shake tests/publisher/test_purge_first.py --count 20

`SHAKE_LONGEST` is the length of the longest freeze and `SHAKE_PAUSE` the mean pause between two, in seconds. Longer
freezes than a test's patience fail it, which says nothing: read what a failure says before mending anything. With
`--count N` the tests are run N times over.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import psutil

ASLEEP = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_TRACING_STOP}
SPARED = "cache-main"
"""The process of Varnish that serves: going on after SIGSTOP with a stream open it panics (varnish-cache #3801)."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--count", type=int, default=1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what is frozen is let go on
    ours, theirs = parser.parse_known_args(arguments)
    statuses = [run(theirs) for _ in range(ours.count)]
    if ours.count > 1:
        sys.stdout.write(f"{sum(status != 0 for status in statuses)} of {ours.count} runs failed\n")
    return max(statuses)


def run(arguments: Sequence[str]) -> int:
    """Run pytest once among freezes and return its status."""
    longest = float(os.environ.get("SHAKE_LONGEST", "0.8"))
    pause = float(os.environ.get("SHAKE_PAUSE", "0.3"))
    with tempfile.TemporaryDirectory(prefix="shake-") as folder:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/base"]
        pytest = subprocess.Popen([*command, *arguments])
        try:
            while pytest.poll() is None:
                time.sleep(random.uniform(0, 2 * pause))
                freeze(pytest.pid, random.uniform(longest / 16, longest))
        finally:
            pytest.send_signal(signal.SIGINT)  # its fixtures end what they have started
            pytest.wait()
        return pytest.returncode


def freeze(root: int, seconds: float) -> None:
    """Stop `root` or one of the processes below it for a while, but none that is spared or that a test has stopped."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        top = psutil.Process(root)
        awake = [process for process in (top, *top.children(recursive=True)) if is_awake(process)]
        if not awake:
            return
        chosen = random.choice(awake)
        chosen.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            chosen.send_signal(signal.SIGCONT)


def is_awake(process: psutil.Process) -> bool:
    try:
        return process.name() != SPARED and process.status() not in ASLEEP
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
