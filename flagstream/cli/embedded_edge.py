"""The edge of the embedded stack: a real varnishd, its waiting room, and what reports on it."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flagstream.cli.failure import failure
from flagstream.cli.ports import HOST, free_port
from flagstream.cli.surroundings import Surroundings
from flagstream.settings import SettingsError, load

if TYPE_CHECKING:
    from cdn.settings import CdnSettings

__all__ = ["AT_ONCE", "LONGEST_DRAIN", "EmbeddedEdge"]

LOG_MEMORY = "8m"

LONGEST_DRAIN = 86400.0
"""Seconds; behind an edge nothing may end cleanly before its time, so the embedded stack stops by cutting."""

AT_ONCE = (signal.SIGTERM, signal.SIGINT)
"""The second signal of a drain that nobody who presses Ctrl-C would wait for."""


class EmbeddedEdge:
    """Programs in front of one stream server at `stream_url`; each edge has free ports but for its own.

    There is a report on it only where it is to be `reported`.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        around: Surroundings,
        *,
        stream_url: str,
        nats_url: str,
        reported: bool = True,
    ) -> None:
        if shutil.which("varnishd") is None:
            raise failure("varnishd is not installed: on Debian apt-get install varnish, or leave --edge out")
        self.url = f"http://{HOST}:{port}"
        waiting_port, report_port = free_port(), free_port()
        self.settings = self._written(folder / "edge", port, stream_url, f"{HOST}:{waiting_port}", around.environ)
        self.name = str(folder / "varnish")
        self.waiting_room = around.child(
            "waiting_room",
            [
                *(sys.executable, "-m", "flagstream", "serve", "--host", HOST, "--port", str(waiting_port)),
                *("--waiting-room", "--waiting-for", stream_url),
            ],
            {
                **around.environ,
                "STREAM_SERVER_DRAIN": str(LONGEST_DRAIN),
                "STREAM_SERVER_WORKERS": "1",
                "STREAM_SERVER_SUPERVISED": "false",
                "STREAM_SERVER_EDGE_GUARD": "true",
            },
            stops=AT_ONCE,
        )
        self.varnish = around.child(
            "varnish",
            # Without a jail: its user could not read this folder.
            [str(folder / "edge" / "start"), "-j", "none", "-n", self.name, "-l", LOG_MEMORY],
            around.environ,
            log=folder / "varnish.log",
        )
        report = [
            *(sys.executable, "-m", "flagstream", "edge", "report", "--name", self.name),
            *("--port", str(report_port), "--nats-url", nats_url),
        ]
        self.report = around.child("edge_report", report, around.environ) if reported else None

    @property
    def purged(self) -> bool:
        """Whether it keeps what the publisher has to purge."""
        return self.settings.document_ttl > 0

    def _written(
        self, folder: Path, port: int, stream_url: str, waiting_room: str, environ: Mapping[str, str]
    ) -> CdnSettings:
        from cdn.render import varnish, write  # noqa: PLC0415 - each command loads only what it needs
        from cdn.settings import CdnSettings  # noqa: PLC0415 - the same
        from stream_server.settings import StreamServerSettings  # noqa: PLC0415 - the same

        own = {
            "host": HOST,
            "port": port,
            "origins": (stream_url.removeprefix("http://"),),
            "waiting_room": waiting_room,
            "purgers": (HOST,),
            "drain_file": str(folder / "draining"),
        }
        try:
            settings = load(CdnSettings, overrides=own, environ=environ)
            streams = load(StreamServerSettings, overrides={"drain": LONGEST_DRAIN, "edge": True}, environ=environ)
        except SettingsError as error:
            raise failure(*error.faults, status=2) from None
        write(varnish(settings, streams), folder)
        return settings
