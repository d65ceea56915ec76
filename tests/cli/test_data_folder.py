"""The data folder of `flagstream up`: who holds it, and what it bounds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flagstream.cli import data_folder
from flagstream.cli.data_folder import open_folder, running_stack
from flagstream.cli.stack import Ports, Stack
from tests.servers import Process, answers, free_port, wait_until

HOLDER = """
import sys, time
from pathlib import Path
from flagstream.cli.data_folder import open_folder
folder = open_folder(Path(sys.argv[1]))
folder.show_running({"publisher": "http://127.0.0.1:1"})
print("running", flush=True)
time.sleep(600)
"""


def test_what_a_killed_up_left_behind_is_not_taken_for_running(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        holder.stdout.readline()
        assert running_stack(tmp_path) == {"publisher": "http://127.0.0.1:1"}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / "up.json").exists()
    assert running_stack(tmp_path) is None


def test_asking_who_runs_makes_no_folder_and_keeps_nobody_out(tmp_path: Path) -> None:
    assert running_stack(tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()
    open_folder(tmp_path / "folder").close()
    assert running_stack(tmp_path / "folder") is None
    open_folder(tmp_path / "folder").close()


def test_the_log_of_the_embedded_nats_server_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "LOG_SIZE", "2KB")
    folder = open_folder(tmp_path)
    port = free_port()
    nats = Process(Stack(folder, Ports(1, 2, port), workers=1).nats.command, log=tmp_path / "stderr")
    for _ in range(8):  # each writes about 1 KB
        nats.start()
        wait_until(lambda: answers(port), "nats-server's start")
        nats.stop()
    folder.close()
    assert len(list(tmp_path.glob("nats.log*"))) == 2
    assert sum(path.stat().st_size for path in tmp_path.glob("nats.log*")) < 10_000
