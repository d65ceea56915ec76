"""What this machine says of itself and of processes on it (Linux, proc(5))."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["PAGE", "cpu_of", "cpu_seconds", "described", "file_limit", "resident", "tree"]

PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> list[int]:
    """Return a process and its living descendants, the process first."""
    found = [pid]
    for parent in found:  # grows as it is read
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used so far, user and system, all threads, to the nanosecond.

    A process's CPU clock has an id of its own, made as clock_getcpuclockid(3) of the C library makes it. Raises OSError
    for a process that is gone.
    """
    return time.clock_gettime(~pid << 3 | 2)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds of processes together; raises OSError where one is gone."""
    return sum(map(cpu_of, pids))


def resident(pid: int) -> int:
    """Return the bytes of a process that are in memory, those that it shares included; raises OSError if it is gone."""
    # Some microseconds; what `smaps_rollup` says is exact and takes milliseconds for a large process.
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def file_limit() -> int:
    """Return how many files a process of this host may have open, after it has asked for as many as it can get."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def described() -> dict[str, object]:
    """Return what a reader of figures must know of the machine; None for what it does not say."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30, 1),
        "page_bytes": PAGE,
        "load_average": os.getloadavg()[0],
        "open_files": hard,
        "open_files_soft": soft,
        "somaxconn": _number("/proc/sys/net/core/somaxconn"),
        "local_ports": _text("/proc/sys/net/ipv4/ip_local_port_range"),
    }


def _cpu_model() -> str | None:
    found = re.search(r"^model name\s*: *(.+)$", _text("/proc/cpuinfo") or "", re.MULTILINE)
    return found[1] if found else platform.processor() or None


def _number(path: str) -> int | None:
    text = _text(path)
    return None if text is None else int(text)


def _text(path: str) -> str | None:
    try:
        text = Path(path).read_text()
    except OSError:
        return None
    return text.strip().replace("\t", " ")
