from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdk_client import cache
from sdk_client.cache import Cached, DiskCache
from sdk_client.errors import ConfigurationError
from tests.sdk_client.lines import Lines

KEY = "ser.4Xm8tTqVbNw2"
VERSION = 1735229888760123
FLAGS = b'[{"feature": {"name": "banner"}, "enabled": true, "feature_state_value": "hi"}]'


def cached(version: int = VERSION, body: bytes = FLAGS) -> Cached:
    return Cached("flags", version, labelled=True, etag='W/"5f"', body=body)


def kept(folder: Path) -> DiskCache:
    """Return a cache that holds a good document."""
    disk = DiskCache(folder, KEY)
    assert disk.save(cached())
    return disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "saved",
    [
        cached(),
        Cached("environment", 7, labelled=False, etag="", body=b'{"api_key": "x", "feature_states": []}'),
        cached(0, b"[]"),
        cached(body='[{"\\ud800": "ü\U0001f600", "n": [1.5e300, 12345678901234567890, -0.0, null, true]}]'.encode()),
    ],
    ids=["flags", "environment", "unknown-version", "odd-json"],
)
def test_what_was_saved_is_loaded_by_the_next_process(tmp_path: Path, saved: Cached) -> None:
    assert DiskCache(tmp_path, KEY).save(saved)
    loaded = DiskCache(tmp_path, KEY).load()
    assert loaded is not None
    assert repr(json.loads(loaded.body)) == repr(json.loads(saved.body))
    assert (loaded.kind, loaded.version, loaded.labelled) == (saved.kind, saved.version, saved.labelled)
    assert loaded.etag == saved.etag


def test_the_file_says_what_it_is_and_never_the_key(tmp_path: Path) -> None:
    disk = kept(tmp_path)
    told = json.loads(disk.path.read_bytes())
    assert told["format"] == 1
    assert told["kind"] == "flags"
    assert told["version"] == VERSION
    assert told["saved_at"].endswith("+00:00")
    assert told["body"] == json.loads(FLAGS)
    for part in (KEY, KEY.removeprefix("ser.")):
        assert part not in disk.path.read_text()
        assert part not in str(disk.path)


def test_only_its_user_may_read_what_is_kept(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        disk = kept(tmp_path / "made" / "of it")
    finally:
        os.umask(before)
    for path in disk.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(disk.path.parent.stat().st_mode) == 0o700


def test_environments_share_a_folder(tmp_path: Path) -> None:
    caches = [DiskCache(tmp_path, key) for key in ("one", "two")]
    for version, disk in enumerate(caches, start=1):
        assert disk.save(cached(version))
    assert [found.version for disk in caches if (found := disk.load())] == [1, 2]


def test_a_path_is_a_folder_or_a_file_by_what_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "flags.d").mkdir()
    (tmp_path / "plain").write_text("")
    files = {path: DiskCache(tmp_path / path, KEY).path for path in ("flags.d", "new", "plain", "new.json")}
    assert files["flags.d"].parent == tmp_path / "flags.d"
    assert files["new"].parent == tmp_path / "new"
    assert files["plain"] == tmp_path / "plain"
    assert files["new.json"] == tmp_path / "new.json"
    assert DiskCache(f"{tmp_path}/new.d/", KEY).path.parent == tmp_path / "new.d"


def test_a_relative_path_stays_where_it_was_although_the_program_changes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    disk = DiskCache("flags.json", KEY)
    monkeypatch.chdir("/")
    assert disk.path == tmp_path / "flags.json"


@pytest.mark.parametrize("path", ["", "a\0b", b"flags", "x" * 5000], ids=["empty", "nul", "bytes", "long"])
def test_a_path_that_cannot_be_one_is_refused_at_once(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^cache "):
        DiskCache(path, KEY)


def test_nothing_there_is_no_reason_for_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert DiskCache(tmp_path, KEY).load() is None
    assert DiskCache(tmp_path / "no" / "folder.json", KEY).load() is None
    assert not caplog.records


def changed(**fields: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        told = json.loads(path.read_bytes()) | fields
        path.write_text(json.dumps({name: value for name, value in told.items() if value is not ...}))

    return change


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def grown(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(cache.MAX_FILE + 1)


def replaced_by_a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (cut_off, "it is not JSON"),
    "empty": (lambda path: path.write_bytes(b""), "it is not JSON"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe\x00\xd8"), "it is not JSON"),
    "nested deeply": (lambda path: path.write_bytes(b"[" * 100_000), "it is not JSON"),
    "another JSON file": (lambda path: path.write_bytes(b"[1, 2]"), "it is damaged"),
    "a newer format": (changed(format=2), "it is of format 2, not 1"),
    "another environment": (changed(environment="0" * 32), "it belongs to another environment"),
    "another kind": (changed(kind="segments"), "it is damaged"),
    "no version": (changed(version=...), "it is damaged"),
    "a version that is none": (changed(version=-1), "it is damaged"),
    "a version beyond all": (changed(version=2**53), "it is damaged"),
    "an etag that would break a request": (changed(etag='"a"\r\nHost: x'), "it is damaged"),
    "no body": (changed(body=...), "it is damaged"),
    "a body that is no document": (changed(body="x"), "it is damaged"),
    "too large": (grown, "it is larger than 16777216 bytes"),
    "a folder": (replaced_by_a_folder, "Is a directory"),
    "a pipe that nobody writes to": (replaced_by_a_pipe, "it is not a file"),
    "a loop of links": (replaced_by_a_loop, "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_of_no_use_is_told_once_with_its_reason(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    disk = kept(tmp_path)
    make, reason = DAMAGES[damage]
    make(disk.path)
    assert disk.load() is None
    assert [record.getMessage() for record in caplog.records] == [
        f"the flags kept in {disk.path} cannot be used: {reason}"
    ]
    assert disk.save(cached()) is (damage != "a folder"), "and the next good document takes its place"
    assert (disk.load() is not None) is (damage != "a folder")


def test_an_older_version_never_covers_a_newer_one(tmp_path: Path) -> None:
    ours, theirs = DiskCache(tmp_path, KEY), DiskCache(tmp_path, KEY)
    assert ours.save(cached(20))
    assert not theirs.save(cached(10))
    assert ours.load() == cached(20)
    assert theirs.save(cached(20, b"[]")), "the same version again may say more"
    assert theirs.save(cached(30, b"[]"))
    assert ours.load() == cached(30, b"[]")


def test_a_document_of_unknown_age_takes_the_place_of_any(tmp_path: Path) -> None:
    disk = kept(tmp_path)
    assert disk.save(cached(0, b"[]"))
    assert disk.load() == cached(0, b"[]")


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = kept(tmp_path)
    assert not disk.save(cached(VERSION + 1, json.dumps(["x" * cache.MAX_FILE]).encode()))
    assert not disk.save(cached(VERSION + 1, b"no JSON"))
    assert not disk.save(cached(VERSION + 1, b"[" * 100_000))
    assert disk.load() == cached()
    assert caplog.text.count("cannot be kept") == 1
    assert disk.save(Cached("flags", VERSION + 1, labelled=True, etag="a\nb", body=FLAGS))
    assert (loaded := disk.load()) is not None
    assert loaded.etag == ""


def test_a_folder_that_cannot_be_is_told_once_until_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taken").write_text("")
    disk = DiskCache(tmp_path / "taken" / "flags.json", KEY)
    for _ in range(3):
        assert not disk.save(cached())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(disk.path) in caplog.text
    (tmp_path / "taken").unlink()
    assert disk.save(cached())
    disk.path.unlink()
    replaced_by_a_folder(disk.path.with_name(f"{disk.path.name}.lock"))
    assert not disk.save(cached())
    assert len(caplog.records) == 2, "a new failure is told again"


def test_a_full_disk_leaves_the_old_document_and_no_rubbish(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = kept(tmp_path)
    before = names(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # a write beyond it fails, as on a full disk
    try:
        assert not disk.save(cached(VERSION + 1, json.dumps(["x" * 20_000]).encode()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be kept" in caplog.text
    assert disk.load() == cached()
    assert names(tmp_path) == before


def test_a_lock_that_is_never_given_back_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.05)
    disk = kept(tmp_path)
    with disk.path.with_name(f"{disk.path.name}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not disk.save(cached(VERSION + 1))
    assert "another process has held the lock for 0.05 s" in caplog.text
    assert disk.save(cached(VERSION + 1))


FORKING = """
import os, signal, sys
from pathlib import Path
from sdk_client.locking import exclusive

path = Path(sys.argv[1])
with exclusive(path, 5.0):
    child = os.fork()
    if child == 0:
        signal.pause()
try:
    with exclusive(path, 5.0) as alone:
        print(alone)
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_a_child_that_was_forked_during_a_save_does_not_keep_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path / "lock")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_threads_of_one_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, KEY)
    threads = [threading.Thread(target=disk.save, args=[cached(version)]) for version in range(1, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert disk.load() == cached(24)
    assert names(tmp_path) == [disk.path.name, f"{disk.path.name}.lock"]


SAVER = """
import sys
from pathlib import Path
from sdk_client.cache import Cached, DiskCache

disk = DiskCache(Path(sys.argv[1]), sys.argv[2])
first, last, step, size = map(int, sys.argv[3:])
body = b'["' + b"x" * size + b'"]'
print("ready", flush=True)
for version in range(first, last, step):
    disk.save(Cached("flags", version, labelled=True, etag="", body=body))
    if version == first:
        print("saved", flush=True)
"""


def saver(folder: Path, *, first: int, last: int, step: int, size: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SAVER, str(folder), KEY, *map(str, (first, last, step, size))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)


def test_a_process_killed_while_it_saves_leaves_a_good_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    held = 0
    for _ in range(5):
        with saver(tmp_path, first=held + 1, last=10**9, step=1, size=2_000_000) as process:
            Lines(process).until("saved")
            loaded = [DiskCache(tmp_path, KEY).load() for _ in range(12)]  # a reader beside it
            process.send_signal(signal.SIGKILL)
        last = DiskCache(tmp_path, KEY).load()
        for found in (*loaded, last):
            assert found is not None
            assert found.version > held
            assert len(found.body) == 2_000_004
        assert last is not None
        held = last.version
    assert not caplog.records
    assert DiskCache(tmp_path, KEY).save(cached())
    path = DiskCache(tmp_path, KEY).path
    assert names(tmp_path) == [path.name, f"{path.name}.lock"], "what the killed ones left is cleared away"


def test_many_processes_at_once_end_with_the_newest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    processes = [saver(tmp_path, first=number + 1, last=101, step=4, size=100_000) for number in range(4)]
    disk = DiskCache(tmp_path, KEY)
    seen = 0
    while any(process.poll() is None for process in processes):
        found = disk.load()
        version = 0 if found is None else found.version
        assert version >= seen, "a reader never sees it go back"
        seen = version
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert (last := disk.load()) is not None
    assert last.version == 100
    assert not caplog.records
