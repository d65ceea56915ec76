from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.native_programs import FLAGS, SOURCES, NoCompilerError, compiled
from tests.servers import missing


@pytest.mark.parametrize("source", sorted(SOURCES.glob("*.c")), ids=lambda path: path.name)
def test_a_native_program_compiles_without_a_warning(source: Path, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc")
    command = ["cc", *FLAGS, "-Werror", "-o", str(tmp_path / "program"), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # nothing is compiled there yet
    with pytest.raises(NoCompilerError, match="apt-get install gcc"):
        compiled("floor")
