"""The command line without the price of its start: a process that has everything imported forks for each command.

``python -m tests.command`` is that process. It is for tests that care what a command answers; that it starts at
all, and what its start loads, others hold by starting it.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from tests.programs import environment, unmeasured

ROOT = Path(__file__).parent.parent
PATIENCE = 60


def answer(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Return what ``flagstream ARGUMENTS`` answers: status, standard output, standard error."""
    encoded = [base64.b64encode(os.fsencode(each)).decode() for each in arguments]
    asked = {"arguments": encoded, "env": environment() if env is None else env}
    process = _forking()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, "the process that forks has ended"
    told = json.loads(line)
    return subprocess.CompletedProcess(arguments, told["status"], told["out"], told["err"])


@functools.cache
def _forking() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.command"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=unmeasured(environment()),
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait(PATIENCE)


def main() -> None:
    """Answer commands, a line of JSON each, until the end of the input."""
    import flagstream.cli  # noqa: F401, PLC0415 - what is imported here need not be in the child
    from flagstream.__main__ import main as run  # noqa: PLC0415 - the test's own process does not need it

    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                _become(asked, out.fileno(), err.fileno(), run)
            _, status = os.waitpid(child, 0)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        told = {"status": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def _become(asked: dict[str, Any], out: int, err: int, run: Any) -> NoReturn:
    """Be the command, in a process of its own, until its end."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["flagstream", *(os.fsdecode(base64.b64decode(each)) for each in asked["arguments"])]
    status = 1
    try:
        run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else _said(end.code)
    except BaseException as error:  # noqa: BLE001 - as the interpreter would
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _said(words: object) -> int:
    sys.stderr.write(f"{words}\n")
    return 1


if __name__ == "__main__":
    main()
