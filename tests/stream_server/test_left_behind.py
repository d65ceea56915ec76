"""What a supervisor that is killed leaves in the folder for temporary files, and who removes it when."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from flagstream.temporary import sweep
from stream_server.workers import PREFIX
from tests.stream_server.raw import is_alive, program, send, until
from tests.test_temporary import aged


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers the one before
    return tmp_path


@pytest.mark.asyncio
async def test_what_a_killed_supervisor_left_is_removed_by_the_next_and_not_while_a_worker_runs(
    temporary: Path,
) -> None:
    def folders() -> set[Path]:
        return set(temporary.glob(f"{PREFIX}*"))

    settings: dict[str, Any] = {
        "nats_url": "nats://127.0.0.1:1",
        "workers": 1,
        "supervised": True,
        "drain": 1,
        "edge": "false",
    }
    with program(temporary, **settings) as server:
        await until(lambda: bool(list(temporary.glob(f"{PREFIX}*/versions"))), "the worker's table")
        (left,) = folders()
        (worker,) = server.children()
        send(worker, signal.SIGSTOP)
        server.process.kill()
        sweep_of_old(left)
        assert left.exists()
        send(worker, signal.SIGCONT)
        await until(lambda: not is_alive(worker), "the end of the worker")
    with program(temporary, **settings) as server:
        await until(lambda: bool(folders() - {left}), "a folder of its own")
        assert not left.exists()
        (own,) = folders()
        sweep_of_old(own)
        assert own.exists()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    assert not folders()


def sweep_of_old(folder: Path) -> None:
    aged(folder)
    sweep(PREFIX)
