"""The command line without the price of its start: for tests that care what a command answers.

That it starts at all, and what its start loads, others hold by starting it.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.forked import Forked
from tests.programs import environment, unmeasured

PATIENCE = 60


def answer(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Return what ``flagstream ARGUMENTS`` answers: status, standard output, standard error."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        command = Forked(list(arguments), log=out, errors=err, env=unmeasured(environment() if env is None else env))
        status = command.wait(PATIENCE)
        texts = (file.read_bytes().decode(errors="replace") for file in (out, err))
        return subprocess.CompletedProcess(arguments, status, *texts)
