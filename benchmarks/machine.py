"""Memory, exactly: that of processes, a shared page divided among them, and the kernel's own (Linux, proc(5))."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loadtest.machine import PAGE

__all__ = ["Kernel", "Memory", "allow_open_files", "kernel", "memory"]


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
