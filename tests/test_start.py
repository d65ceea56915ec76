"""The start of the command, before there is a command line that could say anything."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.programs import COMMAND, environment

START = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "flagstream.cli":
            os.kill(os.getpid(), signal.SIGINT)
            raise ModuleNotFoundError(name="somewhere")

sys.meta_path.insert(0, Interrupting())
{before}
from flagstream.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("before", "status", "said"),
    [
        ("", -signal.SIGINT, ""),
        ("signal.signal(signal.SIGINT, signal.SIG_IGN)", 1, "the command line needs the package somewhere"),
    ],
    ids=["usually", "ignored"],
)
def test_an_interrupt_while_the_command_still_starts_ends_it_without_a_traceback(
    before: str, status: int, said: str
) -> None:
    program = START.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


END = """
import atexit, os, signal, sys, types

signal.signal(signal.SIGINT, {handler})
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.modules["flagstream.cli"] = types.SimpleNamespace(app=lambda: sys.exit(3))
from flagstream.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("handler", "status"),
    [("signal.default_int_handler", -signal.SIGINT), ("signal.SIG_IGN", 3)],
    ids=["usually", "ignored"],
)
def test_an_interrupt_when_the_command_is_over_is_not_told_as_an_error(handler: str, status: int) -> None:
    program = END.format(handler=handler)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert done.stderr == ""


def test_characters_that_an_output_cannot_have_are_replaced() -> None:
    done = subprocess.run(
        [*COMMAND, "watch", "-h"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"),
    )
    assert done.returncode == 0, done.stderr
    assert "old ? new" in " ".join(done.stdout.split())
