"""The published Flagsmith Python SDK as a program that prints what it shows, each time that changes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import environment
from tests.servers import wait_until

__all__ = ["following", "python_sdk", "wait_for_line"]

PROGRAM = """
import sys, time
from flagsmith import Flagsmith
server_key, stream, feature = sys.argv[1:]
client = Flagsmith(
    environment_key=server_key,
    api_url=stream + "/api/v1/",
    realtime_api_url=stream,
    enable_local_evaluation=True,
    enable_realtime_updates=True,
)
shown = None
while True:
    flags = client.get_environment_flags()
    now = (flags.is_feature_enabled(feature), flags.get_feature_value(feature))
    if now != shown:
        shown = now
        print(*now, flush=True)
    time.sleep(0.005)
"""


def python_sdk(server_key: str, stream: str, feature: str) -> list[str]:
    """Return the command that follows one environment through the stream server, or edge, at `stream`."""
    return [sys.executable, "-c", PROGRAM, server_key, stream, feature]


@contextmanager
def following(command: list[str], log: Path) -> Iterator[Path]:
    """Run a program that prints what it sees; yields the file that it prints to."""
    with (
        log.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=environment(PYTHONUNBUFFERED="1")) as running,
    ):
        try:
            yield log
        finally:
            running.terminate()


def wait_for_line(log: Path, text: str, what: str) -> None:
    """Wait until a line holds `text`."""
    wait_until(lambda: any(text in line for line in log.read_text().splitlines()), f"{what} showing {text!r}")
