"""Where a server's CPU goes while streams are opened or told of a version.

    .venv/bin/python -m benchmarks.profiling open ours ours@/path/to/another/checkout
    .venv/bin/python -m benchmarks.profiling deliver ours

``perf`` (Debian: linux-perf) gives the share of the kernel, the interpreter and each library, ``py-spy`` (PyPI) the
Python functions in which the time is spent. Each server is profiled twice, once by each, because both slow it down.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.rows.field import Contender, server, temporary

STREAMS: Final = 15_000
SECONDS: Final = 6
LINES: Final = 14


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=sorted(WORK))
    parser.add_argument("servers", nargs="+", help="names as for benchmarks.streams")
    options = parser.parse_args()
    places = f"{Path(sys.executable).parent}:/usr/bin"
    tools = {name: shutil.which(name, path=places) or "" for name in ("perf", "py-spy")}
    if missing := [name for name, path in tools.items() if not path]:
        print(f"not installed: {' and '.join(missing)}", file=sys.stderr)
        return 1
    for name in options.servers:
        print(f"\n{options.row}, {name.partition('@')[0]}{' of another checkout' if '@' in name else ''}")
        for profile in (_by_library, _by_function):
            with temporary() as folder, server(name, folder, 8 * STREAMS) as contender:
                contender.warm_up()
                profile(tools, contender, folder, WORK[options.row])
    return 0


def _open(contender: Contender) -> Callable[[], None]:
    return lambda: contender.swarm.close_group(contender.open(STREAMS // 3, 120))


def _deliver(contender: Contender) -> Callable[[], None]:
    group = contender.open(STREAMS, 120)

    def broadcast() -> None:
        contender.broadcast(group)

    return broadcast


WORK: Final[dict[str, Callable[[Contender], Callable[[], None]]]] = {"open": _open, "deliver": _deliver}
Work = Callable[[Contender], Callable[[], None]]


def _by_library(tools: dict[str, str], contender: Contender, folder: Path, work: Work) -> None:
    do = work(contender)
    data = folder / "perf.data"
    command = [tools["perf"], "record", "-q", "-B", "-N", "-F", "1999", "-o", str(data), "-p", _pids(contender)]
    _while_running([*command, "--", "sleep", str(SECONDS)], do)
    report = [tools["perf"], "report", "-i", str(data), "--sort", "dso", "--stdio", "-q"]
    text = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    shares = [line.split() for line in text.splitlines() if "%" in line]
    print("  share  where")
    for share, *where in shares[:6]:
        print(f"  {share:>6} {Path(' '.join(where)).name.partition('.cpython')[0]}")


def _by_function(tools: dict[str, str], contender: Contender, folder: Path, work: Work) -> None:
    do = work(contender)
    data = folder / "stacks"
    command = [tools["py-spy"], "record", "-r", "500", "-f", "raw", "-F", "-o", str(data), "-p", _pids(contender)]
    _while_running([*command, "-d", str(SECONDS)], do)
    own: Counter[str] = Counter()
    for line in data.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        own[stack.rpartition(";")[2]] += int(count)
    print("  share  in")
    for function, samples in own.most_common(LINES):
        print(f"  {samples / own.total():>6.1%} {function}")


def _while_running(command: list[str], do: Callable[[], None]) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recording:
        time.sleep(0.5)
        while recording.poll() is None:
            do()


def _pids(contender: Contender) -> str:
    return ",".join(str(pid) for pid in contender.server.process.pids)


if __name__ == "__main__":
    sys.exit(main())
