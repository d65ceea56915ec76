"""What the conductor asks of a stack that it may hurt; the command line's ``--local`` has one, a test its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtest.messages import Environment

__all__ = ["Figures", "Stack", "StackError"]


class StackError(Exception):
    """The stack could not be started, or not be hurt as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the servers themselves say, as counted since they started; None where nobody can tell.

    Requests are for streams (at an edge it cannot always be told, and fetches of a version may be among them);
    `edge_sent_on` are those for streams that the edge made of them, all to the origin, `origin_streams` are open now at
    the stream server, `edge_clients` at the edge.
    """

    origin_requests: int | None = None
    edge_requests: int | None = None
    edge_sent_on: int | None = None
    origin_streams: int | None = None
    edge_clients: int | None = None


class Stack(Protocol):
    """A running stack: publisher, stream server, and by option an edge and a Redis."""

    @property
    def urls(self) -> Mapping[str, str]:
        """Where streams are asked for: ``origin``, and ``edge`` where there is one."""

    @property
    def publisher_url(self) -> str:
        """Where queue-change is posted."""

    @property
    def sse_token(self) -> str:
        """The token for it."""

    @property
    def environments(self) -> Sequence[Environment]:
        """The environments that it has, each with a few flags."""

    def pids(self) -> Mapping[str, Sequence[int]]:
        """Return the processes of each program, as they are now."""

    def troubles(self) -> Sequence[str]:
        """Return what went wrong with its parts by itself so far, each in a sentence."""

    async def figures(self) -> Figures:
        """Return what the servers say; what does not answer within a second is None."""

    async def kill(self, part: str, down: float) -> None:
        """End a part by SIGKILL; what watches it starts it again, `down` seconds later at the earliest.

        Parts are those of `loadtest.scenario.schema.PARTS`; ``worker`` is one worker of the stream server, whichever,
        ``workers`` all of them, ``stream_server`` the supervisor, too. Raises StackError where there is no such part.
        """

    async def stop(self, part: str, down: float) -> None:
        """End a part by SIGTERM and start it again `down` seconds after it has ended."""

    async def freeze(self, part: str, seconds: float) -> None:
        """Stop the processes of a part for `seconds` (SIGSTOP, SIGCONT)."""

    async def deploy(self) -> None:
        """Replace the workers of the stream server in place (SIGHUP); returns when the last old one has ended."""
