"""The parts of a local stack that a scenario names: which program each is, and which of its processes."""

from __future__ import annotations

from collections.abc import Sequence

from flagstream.cli.child import Child
from flagstream.cli.loadtest.local_processes import children, living, started
from flagstream.cli.stack import Stack
from loadtest.stack import StackError

__all__ = ["Parts"]

OF_STREAM_SERVER = ("worker", "workers", "stream_server")


class Parts:
    """Finds them as they are now; `workers` is how many the stream server was told to have."""

    def __init__(self, stack: Stack, workers: int) -> None:
        self._stack = stack
        self._workers = workers
        self._picked: dict[int, int] = {}
        edge = stack.edge
        self._children: dict[str, Child | None] = {
            **dict.fromkeys(OF_STREAM_SERVER, stack.stream_server),
            "edge": None if edge is None else edge.varnish,
            "waiting_room": None if edge is None else edge.waiting_room,
            "publisher": stack.publisher,
            "nats": stack.nats,
            "redis": stack.redis,
        }

    def program(self, part: str) -> Child:
        """Return the program that a part is or belongs to; raises StackError where the stack has none."""
        if part not in self._children:
            raise StackError(f"there is no part {part!r}; the parts are {', '.join(self._children)}")
        child = self._children[part]
        if child is None:
            wanted = "redis = true" if part == "redis" else 'edge = "varnish"'
            raise StackError(f"this stack has no {part}: give it {wanted} under [local]")
        return child

    def pids(self, part: str) -> list[int]:
        """Return the processes of a part, those first that start others; raises StackError where there are none."""
        match part:
            case "worker":
                found = self._one(self.serving())
            case "workers":
                found = self.workers()
            case _:
                found = living(self.program(part).pids)
        if not found:
            raise StackError(f"{part} does not run now")
        return found

    def workers(self) -> list[int]:
        """Return all workers of the stream server, those that leave, too."""
        whole = self._stack.stream_server.pids
        return children(whole[0]) if whole else []

    def serving(self) -> list[int]:
        """Return the workers that accept: while some are being replaced, the older ones only leave."""
        return sorted(self.workers(), key=lambda pid: (started(pid), pid))[-self._workers :]

    def _one(self, workers: Sequence[int]) -> list[int]:
        """Pick the oldest of those that were picked least."""
        if not workers:
            return []
        self._picked = {pid: self._picked.get(pid, 0) for pid in workers}
        worker = min(workers, key=lambda pid: self._picked[pid])
        self._picked[worker] += 1
        return [worker]
