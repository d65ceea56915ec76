"""One stream as the swarm has it: what comes on a connection, and no more state than tells one piece from the next."""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING

from loadtest.models import Loss
from loadtest.swarm.body import BEGINS, END, HEARTBEAT, INVALID, RETRY, Body, BodyError
from loadtest.swarm.connection import ASKED, ASKED_AGAIN, KEPT, LIVE, PIECE, Connection, words_of
from loadtest.swarm.head import HEAD_END, LONGEST_HEAD, Head, after_interim

if TYPE_CHECKING:
    from loadtest.swarm.opener import Opener

__all__ = ["Stream"]


class Stream(Connection):
    """A stream of `client`; `told` is the newest version that it has told of."""

    __slots__ = ("_body", "_closes", "_rest", "given_up", "told")

    def __init__(self, client: Opener) -> None:
        super().__init__(client)
        self.told = 0
        self.given_up = math.inf
        """When it has gone on for too long beyond its announced life."""
        self._body: Body | None = None
        self._rest = b""
        self._closes = True

    def ask(self, now: float) -> bool:
        """Ask for the next stream on a connection that was kept; return False if it is gone."""
        self.told = 0
        self.given_up = math.inf
        self._body = None
        return super().ask(now)

    def take(self, data: bytes, moment: float) -> None:
        """Take a piece of the answer that was read at `moment`; an empty one is the end of the connection."""
        client = self.client
        if client is None:
            return
        if self._state is LIVE:
            now = self.heard = moment
            crew = client.crew
            if self._body is None and data:
                meaning = crew.known.get(data)
                if meaning is None:
                    self._read_anew(data, now)
                elif meaning.__class__ is int and meaning >= 0:
                    if meaning:
                        client.take(self, meaning, now)
                    else:
                        crew.tally.heartbeats += 1
                else:
                    self._mean(meaning, now)
                crew.tally.bytes += len(data)
            else:
                self._go_on(data, now)
        elif self._state is ASKED or self._state is ASKED_AGAIN:
            self._take_head(data)
        elif self._state is KEPT:  # closed by the server, or it said something that nobody asked for
            self._forgotten(client)

    def _read_anew(self, data: bytes, now: float, *, first: bool = False) -> None:
        """Read a piece that nobody has seen before."""
        try:
            meaning, self._body = self._owner.crew.meanings.read(data, first=first)
        except BodyError as error:
            self._break_off(error, now)
            return
        self._mean(meaning, now)

    def _go_on(self, data: bytes, now: float) -> None:
        """Go on with a piece where something is unfinished, or with the end of the connection."""
        crew = self._owner.crew
        body = self._body
        if not data:
            if body is None or not body.ends_with_connection:
                self._lose(Loss.CUT, "cut off without an end")
            else:
                self._end()
            return
        if body is BEGINS:
            self._body = None
            if data in crew.known:
                self.take(data, now)
            else:
                crew.tally.bytes += len(data)
                self._read_anew(data, now, first=True)
            return
        assert body is not None, "what is not empty and not unfinished is read anew"
        crew.tally.bytes += len(data)
        try:
            found, finished = body.feed(data)
        except BodyError as error:
            self._break_off(error, now)
            return
        if finished:
            self._body = None
        self._mean(found, now)

    def _break_off(self, error: BodyError, now: float) -> None:
        """Take what was whole, and lose the stream unless that has ended it."""
        self._mean(error.found, now)
        if self._state is LIVE:
            self._lose(Loss.CUT, str(error))

    def _mean(self, meaning: int | list[int], now: float) -> None:
        """Do what the bytes mean, one after the other, as long as this stream is wanted."""
        for each in meaning if isinstance(meaning, list) else (meaning,):
            client = self.client
            if client is None or self._state is not LIVE:
                return
            tally = client.crew.tally
            if each > 0:
                client.take(self, each, now)
            elif each == HEARTBEAT:
                tally.heartbeats += 1
            elif each == END:
                self._end()
            elif each == INVALID:
                tally.invalid += 1
            else:
                client.retry = (RETRY - each) / 1000

    def _take_head(self, data: bytes) -> None:
        client = self._owner
        if not data:
            if self._state is ASKED_AGAIN and not self._rest:  # it was closed as we asked (RFC 9112, 9.3.1)
                self.close()
                client.reopen(self)
                return
            self._lose(Loss.REFUSED, "closed without an answer")
            return
        text = self._rest + data if self._rest else data
        end = text.find(HEAD_END)
        while end >= 0 and (after := after_interim(text, end)) is not None:
            text = bytes(after)
            end = text.find(HEAD_END)
        if end < 0:
            self._rest = text
            if len(text) > LONGEST_HEAD:
                self._lose(Loss.STATUS, "an answer without an end to its head")
            return
        self._rest = b""
        head = Head(text[: end + 2])
        if not head.is_stream:
            client.refused(head)
            self._lose(Loss.STATUS, head.words)
            return
        self._go_live(head, text[end + len(HEAD_END) :])

    def _go_live(self, head: Head, rest: bytes) -> None:
        client = self._owner
        self._state = LIVE
        self._closes = head.closes
        self._body = BEGINS if head.chunked else Body(chunked=False, length=head.length)
        now = monotonic()
        asked, self.moment = self.moment, now
        client.went_live(self, head, asked, now)
        slow = client.crew.group.slow
        if slow is not None:
            client.crew.loop.change(self.descriptor, 0)
            if slow.reads_every:
                client.crew.loop.at(now + slow.reads_every, self)
        if rest:
            self.take(rest, now)
        elif head.length == 0 and not head.chunked:
            self._body = None
            self._end()

    def fire(self, kind: int, when: float, now: float) -> None:
        """Read as much as a slow reader does at once; what is read makes room, so that more comes meanwhile."""
        del kind, when
        client = self.client
        if client is None or self._state is not LIVE:
            return
        slow = client.crew.group.slow
        assert slow is not None, "only slow readers are timed"
        client.crew.loop.at(now + slow.reads_every, self)
        left = slow.bytes
        while left and self._state is LIVE and (data := self._take_next(min(left, PIECE))):
            left -= len(data)

    def _end(self) -> None:
        """Take the clean end of the body."""
        client = self._owner
        kept = self._body is None and not self._closes and client.crew.group.model.keeps_connection
        if kept and client.crew.group.slow is None:
            self._state = KEPT
        else:
            self.close()
        client.lost(self, Loss.CLEAN, "", kept=self._state is KEPT)

    def _broken(self, error: OSError) -> None:
        client = self._owner
        if self._state is ASKED_AGAIN and not self._rest:
            self.close()
            client.reopen(self)
        elif self._state is KEPT:
            self._forgotten(client)
        else:
            self._lose(Loss.CUT if self._state is LIVE else Loss.REFUSED, words_of(error))

    def _forgotten(self, client: Opener) -> None:
        if client.kept is self:
            client.kept = None
        self.close()

    def _lose(self, loss: Loss, words: str) -> None:
        client = self._owner
        self.close()
        client.lost(self, loss, words)
