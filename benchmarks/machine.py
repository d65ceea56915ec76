"""What this machine says: CPU and memory of processes, memory of the kernel (Linux, proc(5))."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Kernel", "Memory", "allow_open_files", "cpu_seconds", "described", "kernel", "memory", "tree"]

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of some processes together: resident, and proportional (a page shared by two counts half for each)."""

    rss: int
    pss: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """Bytes: buffers of TCP sockets, slab objects (the sockets themselves among them), and what is still available."""

    tcp_buffers: int
    slab: int
    available: int


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


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU that processes have used so far, user and system, all threads, to the nanosecond.

    A process's CPU clock has an id of its own, made as clock_getcpuclockid(3) of the C library makes it.
    """
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def memory(pids: Iterable[int]) -> Memory:
    """Return the memory of processes together."""
    rss = pss = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        rss += _kilobytes(text, "Rss") * 1024
        pss += _kilobytes(text, "Pss") * 1024
    return Memory(rss, pss)


def kernel() -> Kernel:
    """Return the kernel's own memory as it is now."""
    table = Path("/proc/meminfo").read_text()
    found = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return Kernel(
        tcp_buffers=int(found[1]) * PAGE if found else 0,
        slab=_kilobytes(table, "Slab") * 1024,
        available=_kilobytes(table, "MemAvailable") * 1024,
    )


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def allow_open_files() -> int:
    """Raise the soft limit of open files to the hard one, for this process and its children; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def described() -> dict[str, object]:
    """Return what a reader of figures must know of the machine."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30, 1),
        "load_average": os.getloadavg()[0],
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }
