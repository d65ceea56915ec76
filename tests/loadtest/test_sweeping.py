"""Folders that killed runs left behind."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from flagstream.cli.data_folder import open_folder
from flagstream.cli.loadtest.sweeping import PREFIX, SETTLED, sweep


def test_what_a_killed_run_left_is_removed_and_nothing_that_is_in_use_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders = {name: tmp_path / f"{PREFIX}{name}" for name in ("killed", "unlocked", "used", "new")}
    for folder in folders.values():
        folder.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    open_folder(folders["killed"]).close()
    used = open_folder(folders["used"])
    before = time.time() - 2 * SETTLED
    for name in ("killed", "unlocked", "used"):
        os.utime(folders[name], (before, before))
    sweep()
    assert {each.name.removeprefix(PREFIX) for each in tmp_path.iterdir()} == {"used", "new", "link", "other"}
    used.close()
