"""The table of versions that worker processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_server.versions import SharedVersions

KEYS = [f"key-{index}" for index in range(40)]
BASE = 1_735_229_888_760_122

WRITER = f"""
import itertools, random, select, sys
from stream_server.versions import SharedVersions
path, index = sys.argv[1], int(sys.argv[2])
table = SharedVersions(path, 64, 3, index)
chosen = random.Random(index)
sys.stdin.readline()
for step in itertools.count(1):
    if step % 50 == 0 and select.select([sys.stdin], [], [], 0)[0]:
        break
    # Of this worker alone, so that a reader can tell whether anybody ever wrote what it reads.
    table.advance(chosen.choice({KEYS!r}), {BASE} + step * 1000 + index)
sys.stdout.write("done")
"""


def test_racing_processes_are_read_without_a_wrong_version(tmp_path: Path) -> None:
    path = str(tmp_path / "versions")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(index)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for index in range(2)
    ]
    table = SharedVersions(path, 64, 3, 2)
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    seen = dict.fromkeys(KEYS, 0)
    changes = 0
    while changes < 2000 and all(writer.poll() is None for writer in writers):
        for key in KEYS:
            version = table.newest(key)
            assert version >= seen[key], "a version went backwards"
            assert version == 0 or (version - BASE) % 1000 in {0, 1}, "nobody wrote this version"
            changes += version > seen[key]
            seen[key] = version
    for writer in writers:
        assert writer.communicate()[0] == "done"
    for key in KEYS:
        assert table.newest(key) >= seen[key] > 0
    table.close()


def test_one_worker_reads_what_another_was_told_at_once(tmp_path: Path) -> None:
    one, other = (SharedVersions(str(tmp_path / "versions"), 64, 2, index) for index in range(2))
    assert one.advance("a", BASE)
    assert other.newest("a") == BASE
    assert other.advance("a", BASE - 1)
    assert other.newest("a") == one.newest("a") == BASE
    assert not one.advance("a", BASE)
    assert not one.advance("a", BASE - 5)
    assert (one.known(), other.known()) == ({"a": BASE}, {"a": BASE - 1})
    one.close()
    other.close()


def test_worker_that_is_restarted_neither_loses_nor_lowers_versions(tmp_path: Path) -> None:
    path = str(tmp_path / "versions")
    before = SharedVersions(path, 64, 1, 0)
    before.advance("a", BASE)
    before.close()
    after = SharedVersions(path, 64, 1, 0)
    assert after.newest("a") == BASE
    assert after.known() == {}
    after.advance("a", BASE - 1)
    assert after.newest("a") == BASE
    after.close()


def test_full_table_is_counted_and_still_right_in_this_process(tmp_path: Path) -> None:
    path = str(tmp_path / "versions")
    one, other = (SharedVersions(path, 8, 2, index) for index in range(2))
    for index in range(20):
        assert one.advance(f"key-{index}", BASE + index)
    assert one.overflowed == 12
    assert [one.newest(f"key-{index}") for index in range(20)] == [BASE + index for index in range(20)]
    # What is in the table can still grow in it.
    one.advance("key-0", BASE + 100)
    one.advance("key-19", BASE + 100)
    assert one.overflowed == 12, "environments, not versions"
    assert other.newest("key-0") == BASE + 100
    assert other.newest("key-19") == 0
    one.close()
    other.close()


@pytest.mark.parametrize("word", [0, 1, 2**64 - 1, BASE << 11, BASE])
def test_damaged_slot_reads_as_unknown_not_as_a_wrong_version(tmp_path: Path, word: int) -> None:
    table = SharedVersions(str(tmp_path / "versions"), 8, 1, 0)
    table.advance("a", BASE)
    (place,) = (place for place in range(table._region, len(table._words), 2) if table._words[place])
    table._words[place + 1] = word
    table._own.clear()
    assert table.newest("a") == 0
    table.close()


def test_file_of_another_layout_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "versions"
    small = SharedVersions(str(path), 8, 1, 0)
    small.advance("a", BASE)
    small.close()
    large = SharedVersions(str(path), 1000, 4, 3)
    assert large.newest("a") == 0
    large.advance("a", BASE)
    assert large.newest("a") == BASE
    large.close()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("path", [None, "versions"])
@pytest.mark.parametrize("version", [0, -1, 2**53])
def test_version_that_is_none_is_refused(tmp_path: Path, path: str | None, version: int) -> None:
    table = SharedVersions(path and str(tmp_path / path), 8, 1, 0)
    with pytest.raises(ValueError, match=str(version)):
        table.advance("a", version)
    assert table.newest("a") == 0
    table.close()


def test_table_without_a_file_is_private() -> None:
    one, other = (SharedVersions(None, 8, 2, index) for index in range(2))
    one.advance("a", BASE)
    assert (one.newest("a"), other.newest("a")) == (BASE, 0)
    one.close()
    assert one.newest("a") == BASE


def test_index_must_be_one_of_the_workers() -> None:
    with pytest.raises(ValueError, match="index 2"):
        SharedVersions(None, 8, 2, 2)
