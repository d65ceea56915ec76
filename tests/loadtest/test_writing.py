"""What is written and printed where that is not simple."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer

from flagstream.cli.loadtest.showing import Enduring
from flagstream.cli.loadtest.writing import check_distinct, check_writable, write_atomically
from tests.programs import environment


def test_a_pipe_or_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe, "--json")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_atomically(pipe, b"all of it")
    reader.join(20)
    assert read == [b"all of it"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, file = tmp_path / "link", tmp_path / "folder" / "file"
    link.symlink_to(file)
    check_writable(link, "--json")
    write_atomically(link, b"1")
    assert link.is_symlink()
    assert file.read_bytes() == b"1"
    assert [each.name for each in file.parent.iterdir()] == ["file"]


def test_the_longest_name_that_a_file_may_have_is_none_too_long(tmp_path: Path) -> None:
    file = tmp_path / ("a" * 255)
    check_writable(file, "--json")
    write_atomically(file, b"1")
    assert file.read_bytes() == b"1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a" * 256, "File name too long"), ("loop", "Too many levels of symbolic links"), ("file/x", "Not a directory")],
    ids=["too_long", "loop", "in_a_file"],
)
def test_what_cannot_be_a_file_is_said_before_a_run(
    tmp_path: Path, name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    with pytest.raises(typer.Exit) as caught:
        check_writable(tmp_path / name, "--json")
    assert caught.value.exit_code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("other", ["same", "./folder/../same", "link"])
def test_two_files_that_are_one_are_refused(
    tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("link").symlink_to("same")
    check_distinct(json=Path("same"), html=Path("another"))
    check_distinct(json=Path("same"), html=None)
    with pytest.raises(typer.Exit) as caught:
        check_distinct(json=Path("same"), html=Path(other))
    assert caught.value.exit_code == 2
    assert "json and html are the same file" in capsys.readouterr().err


def test_a_reader_that_has_gone_ends_the_printing_and_not_the_program() -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    with os.fdopen(ours, "w") as file:
        console = Enduring(file=file)
        console.print("one")
        console.print("two")


def test_a_full_disk_behind_standard_output_is_said_in_a_sentence() -> None:
    program = (
        "from flagstream.cli.loadtest.writing import STDOUT, write_atomically\n"
        "import sys, typer\n"
        "try: write_atomically(STDOUT, b'x')\n"
        "except typer.Exit as error: sys.exit(error.exit_code)"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=environment(),
        )
    assert done.returncode == 1
    assert done.stderr == "flagstream: standard output cannot be written: No space left on device\n"


def test_what_cannot_be_written_where_it_was_to_be_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(typer.Exit):
        write_atomically(Path("/dev/full"), b"what was measured")
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == b"what was measured"
    said = f"flagstream: /dev/full cannot be written: No space left on device; it is in {kept} instead\n"
    assert capsys.readouterr().err == said
