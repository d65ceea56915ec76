"""Answers how many streams of each environment this process holds; the dashboard asks every process at once."""

from __future__ import annotations

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from publisher.messages import CountsReply, CountsRequest
from stream_server.hub import Hub

__all__ = ["Counts"]


class Counts:
    """Replies for one process; `server` names it among all stream servers."""

    def __init__(self, hub: Hub, server: str) -> None:
        self._hub = hub
        self._server = server
        self._decoder = msgspec.json.Decoder(CountsRequest)

    def reply(self, request: CountsRequest) -> CountsReply:
        """Count the streams of the keys asked for."""
        return CountsReply(server=self._server, streams={key: self._hub.count(key) for key in request.keys})

    async def on_request(self, message: Msg) -> None:
        """Answer a request off the wire; one that is none is ignored, its sender gets no answer in time."""
        if not message.reply:
            return
        try:
            request = self._decoder.decode(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        try:
            await message.respond(msgspec.json.encode(self.reply(request)))
        except NatsError:
            return  # the connection went away meanwhile; so did whoever asked
