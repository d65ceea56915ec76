"""What all clients of one group in one process have in common."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from loadtest.messages import Environment, Group, Target
from loadtest.swarm.body import Meanings
from loadtest.swarm.ledger import Cell, Ledger
from loadtest.swarm.loop import Loop
from loadtest.swarm.sources import Sources
from loadtest.swarm.tally import Tally

if TYPE_CHECKING:
    from loadtest.swarm.client import Client
    from loadtest.swarm.fetching import Fetcher

__all__ = ["Crew", "Place", "Run"]

AGENT: Final = "flagstream-loadtest"


class Place:
    """One target: where to connect, and what to say there. Raises OSError where its name cannot be resolved."""

    def __init__(self, target: Target, first_source: int, sources: int) -> None:
        self.target = target
        self.sources = Sources(target.host, target.port, first_source, sources)
        self.tls = _context(target) if target.tls else None
        usual = 443 if target.tls else 80
        host = f"[{target.host}]" if ":" in target.host else target.host
        self.host = host if target.port == usual else f"{host}:{target.port}"

    def request(self, path: str, *headers: str) -> bytes:
        """Return the head of a GET but for its last empty line."""
        lines = [f"GET {self.target.prefix}{path} HTTP/1.1", f"Host: {self.host}", *headers]
        return "".join(f"{line}\r\n" for line in lines).encode()


class Run:
    """What holds for the whole run in this process; `mark` is the number of the fault that hurts now."""

    def __init__(self, loop: Loop, *, epoch: float, signature: int) -> None:
        self.loop = loop
        self.epoch = epoch
        self.signature = signature
        self.mark = 0
        self.settling = False
        """Whether nobody is to come or leave any more."""
        self.meanings = Meanings()
        self.meter = loop.meter
        self.errors: dict[str, int] = {}
        """Failures that are this machine's."""

    def error(self, words: str) -> None:
        """Count a failure of this machine."""
        self.errors[words] = self.errors.get(words, 0) + 1


class Crew:
    """One group: its model, its target, its tally, and its clients; client `n` is in environment ``n % len``."""

    def __init__(
        self,
        run: Run,
        group: Group,
        place: Place,
        *,
        environments: Sequence[Environment],
        ledgers: Sequence[Ledger],
        chance: Random,
        fetcher: Fetcher,
    ) -> None:
        self.run = run
        self.loop = run.loop
        self.group = group
        self.model = group.model
        self.target = place
        self.chance = chance
        self.fetcher = fetcher
        self.tally = Tally()
        self.clients: list[Client] = []
        self.meanings = run.meanings
        self.known = run.meanings.known
        self.meter = run.meter
        self.epoch = run.epoch
        self.signature = run.signature
        self._environments = environments
        self._ledgers = ledgers
        self._cells: dict[int, Cell] = {}
        self._behind_us = 0

    def cell(self, number: int) -> Cell:
        """Return the cell of client `number` of the run."""
        index = number % len(self._environments)
        cell = self._cells.get(index)
        if cell is None:
            cell = self._cells[index] = self._made(index)
        return cell

    def _made(self, index: int) -> Cell:
        environment, place = self._environments[index], self.target
        agent = f"User-Agent: {AGENT} ({self.model.name})"
        stream = place.request(f"/sse/environments/{environment.key}/stream", "Accept: text/event-stream", agent)
        whole = self.model.fetches_document and environment.server_key
        key = f"X-Environment-Key: {environment.server_key if whole else environment.key}"
        path = "/api/v1/environment-document/" if whole else "/api/v1/flags/"
        return Cell(
            self._ledgers[index],
            stream=stream + b"\r\n",
            document=f"{place.target.prefix}{path}".encode(),
            headers=f" HTTP/1.1\r\nHost: {place.host}\r\nAccept: application/json\r\n{key}\r\n{agent}\r\n\r\n".encode(),
        )

    @property
    def behind(self) -> int:
        """How many clients that still follow hold a version that is not the newest."""
        return sum(cell.behind for cell in self._cells.values()) if self._follows else 0

    def moment(self, now: float) -> int:
        """Return a reading of the monotonic clock as versions have it, in microseconds since the epoch."""
        return int((now - self.epoch) * 1e6)

    def behind_us(self, now: float) -> int:
        """Return for how many microseconds clients were behind since this was last asked, all together."""
        if not self._follows:
            return 0
        moment, before = self.moment(now), self._behind_us
        self._behind_us = sum(cell.behind_for(moment) for cell in self._cells.values())
        return self._behind_us - before

    @property
    def new(self) -> int:
        """How many hold no version yet although there is one."""
        return sum(cell.new for cell in self._cells.values()) if self._follows else 0

    def lost(self, now: float) -> int:
        """Return how many are without the newest version, of those whose turn to begin had come by `now`."""
        return sum(cell.lost(now) for cell in self._cells.values()) if self._follows else 0

    @property
    def _follows(self) -> bool:
        """Tell whether its clients read at all: who never reads follows nothing."""
        slow = self.group.slow
        return slow is None or slow.reads_every > 0


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not target.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
