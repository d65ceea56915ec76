"""A whole installation behind a real Varnish: publisher, NATS, stream servers, waiting room, each a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from publisher.messages import version_of
from tests.edge.varnish import Varnish
from tests.programs import ADMIN_TOKEN, Program, publisher, stream_server
from tests.programs import waiting_room as waiting_room_of
from tests.servers import NatsServer

__all__ = ["FEATURE", "LIFE", "Environment", "Site", "address"]

FEATURE = "banner"
LIFE: dict[str, Any] = {"edge": "true", "lifetime": 3, "join_window": 1, "heartbeat": 1, "drain": 8, "retry": 0.3}
"""Streams that end often, so that a test of seconds sees many ends."""


def address(program: Program) -> str:
    """Return HOST:PORT of a program."""
    return program.url.removeprefix("http://")


@dataclass(frozen=True, slots=True)
class Environment:
    """Its two keys."""

    key: str
    server_key: str


class Site:
    """`life` are the settings of the stream servers that an edge must agree with, `edge` those of `[cdn]`."""

    def __init__(
        self,
        folder: Path,
        nats: NatsServer,
        *,
        origins: int = 1,
        waiting_room: bool = True,
        life: dict[str, Any] | None = None,
        serving: dict[str, Any] | None = None,
        **edge: Any,
    ) -> None:
        life = LIFE if life is None else life
        self.managing = publisher(folder, nats_url=nats.url, database_url=f"sqlite:///{folder / 'flagstream.db'}")
        self.origins = [
            stream_server(
                folder,
                nats_url=nats.url,
                upstream_url=self.managing.url,
                name=f"stream_server-{number}",
                **life,
                **(serving or {}),
            )
            for number in range(origins)
        ]
        self.waiting_room = waiting_room_of(folder, [each.url for each in self.origins]) if waiting_room else None
        place = address(self.waiting_room) if self.waiting_room else ""
        streams = {name: value for name, value in life.items() if name != "retry"}
        # What the environment says as "true" is a truth value here.
        streams["edge"] = streams.get("edge") == "true"
        self.edge = Varnish(
            folder,
            streams=streams,
            origins=[address(each) for each in self.origins],
            waiting_room=place,
            **edge,
        )

    @property
    def programs(self) -> list[Program]:
        """All but the edge, in the order of their start."""
        return [self.managing, *self.origins, *([self.waiting_room] if self.waiting_room else [])]

    @contextmanager
    def running(self) -> Iterator[Site]:
        """Start everything, and end it the hard way afterwards."""
        try:
            for each in self.programs:
                each.start(ready=False)
            for each in self.programs:
                each.wait_ready()
            self.edge.start()
            yield self
        finally:
            if self.edge.process.running:
                self.edge.stop()
            for each in reversed(self.programs):
                if each.process.running:
                    each.kill()

    def make(self, *names: str) -> list[Environment]:
        """Make a project with an environment of each name and one feature that is on and says "0"."""
        project = self.call("POST", "/api/projects", {"name": names[0]})
        base = f"/api/projects/{project['id']}"
        made = [self.call("POST", f"{base}/environments", {"name": name}) for name in names]
        self.call("POST", f"{base}/features", {"name": FEATURE, "enabled": True, "value": "0"})
        return [Environment(each["key"], each["server_key"]) for each in made]

    def set(self, key: str, value: object) -> int:
        """Change the feature and return the version that the change made."""
        state = self.call("PATCH", f"/api/environments/{key}/features/{FEATURE}", {"value": str(value)})
        return version_of(state["updated_at"])

    def call(self, method: str, path: str, body: object) -> Any:
        """Call the management API."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        answer = httpx.request(method, self.managing.url + path, json=body, headers=headers, timeout=10)
        assert answer.is_success, answer.text
        return answer.json()
