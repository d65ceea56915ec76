"""Compiles the C programs of `native/` when they are needed, into a folder of this user's own.

Raises `NoCompilerError` where there is no C compiler.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["FLAGS", "SOURCES", "NoCompilerError", "compiled"]

SOURCES: Final = Path(__file__).parent / "native"
FLAGS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra")


class NoCompilerError(Exception):
    """There is no C compiler, which the C floor and the load generator need."""

    def __init__(self) -> None:
        super().__init__("no C compiler (cc) is installed; on Debian: apt-get install gcc libc6-dev")


def compiled(name: str) -> Path:
    """Return the program made from ``native/<name>.c``, compiled anew when source or flags have changed.

    Raises `NoCompilerError`, and `subprocess.CalledProcessError` with the compiler's words in `stderr`.
    """
    source = SOURCES / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"flagstream-benchmarks-{os.getuid()}"
    program = folder / f"{name}-{digest}"
    if program.exists():
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompilerError
    folder.mkdir(mode=0o700, exist_ok=True)
    unfinished = folder / f"{name}-{os.getpid()}"  # two runs at once must not execute half a program
    subprocess.run([compiler, *FLAGS, "-o", str(unfinished), str(source)], check=True, capture_output=True, text=True)
    unfinished.rename(program)
    return program
