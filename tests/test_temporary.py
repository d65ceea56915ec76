"""Which folders are removed from the place for temporary files, and which are somebody's."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from flagstream.temporary import SETTLED, hold, sweep, temporary_folder

PREFIX = "flagstream-test-"


def made(place: Path, name: str) -> Path:
    """Return a folder with something in it that was made a while ago."""
    folder = place / f"{PREFIX}{name}"
    (folder / "metrics").mkdir(parents=True)
    return aged(folder)


def aged(folder: Path) -> Path:
    before = time.time() - SETTLED - 1
    os.utime(folder, (before, before))
    return folder


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_folders_of_nobody_are_removed_and_nothing_else(tmp_path: Path) -> None:
    left, held = made(tmp_path, "a"), made(tmp_path, "held")
    new = tmp_path / f"{PREFIX}new"
    new.mkdir()
    file = tmp_path / f"{PREFIX}file"
    file.touch()
    link = tmp_path / f"{PREFIX}link"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link.symlink_to(aged(elsewhere))
    lock = hold(held)
    try:
        sweep(PREFIX)
        assert not left.exists()
        assert {path.name for path in tmp_path.glob(f"{PREFIX}*")} == {path.name for path in (held, new, file, link)}
    finally:
        os.close(lock)


def test_a_folder_is_held_while_it_is_used_and_goes_afterwards_with_what_others_left(tmp_path: Path) -> None:
    left = made(tmp_path, "left")
    with temporary_folder(PREFIX) as folder:
        assert not left.exists()
        (folder / "file").touch()
        aged(folder)
        sweep(PREFIX)
        assert (folder / "file").exists()
    assert not folder.exists()
