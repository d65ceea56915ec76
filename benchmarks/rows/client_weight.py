"""What a client weighs before it does anything: the time to import it, the wheel, and all that is installed with it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

from benchmarks.faulty.contenders import ROOT
from benchmarks.histogram import median
from benchmarks.processes import EndedError
from benchmarks.results import Table
from benchmarks.rows.field import temporary

__all__ = ["imports", "size"]

TIMED: Final = (
    "import sys, time; before = time.perf_counter(); import {module};"
    " print(time.perf_counter() - before, len(sys.modules))"
)
HTTPX: Final = "import httpx; "


def imports(*, rounds: int = 15) -> Table:
    """Import each client in new processes, by turns; compiled files are there, the disk's cache is warm."""
    programs = {
        "httpx": TIMED.format(module="httpx"),
        "sdk_client": TIMED.format(module="sdk_client"),
        "sdk_client, httpx being there": HTTPX + TIMED.format(module="sdk_client"),
        "flagsmith": TIMED.format(module="flagsmith"),
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    modules: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, program in programs.items():
            seconds, loaded = _python(program).split()
            modules[name] = int(loaded)
            if number:  # the first round only fills caches
                taken[name].append(float(seconds))
    lines: list[dict[str, object]] = [
        {
            "import": name,
            "ms": median(each) * 1e3,
            "best ms": min(each) * 1e3,
            "x httpx": median(one / base for one, base in zip(each, taken["httpx"], strict=True)),
            "modules": modules[name],
        }
        for name, each in taken.items()
    ]
    return Table(
        row="client-imports",
        title="Time to import a client",
        conditions={"rounds": rounds},
        columns=list(lines[0]),
        lines=lines,
    )


def size() -> Table:
    """Build the wheel, and install what it and Flagsmith's SDK bring, each into a folder of its own."""
    with temporary() as folder:
        _run("-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT))
        [wheel] = folder.glob("flagstream-*.whl")
        with zipfile.ZipFile(wheel) as packed:
            ours = [each for each in packed.infolist() if each.filename.startswith("sdk_client/")]
        lines = [
            _weight("wheel", wheel.stat().st_size, "", ""),
            _weight(
                "sdk_client within it",
                sum(each.compress_size for each in ours),
                sum(each.file_size for each in ours),
                "",
            ),
            _installed("pip install flagstream", str(wheel), folder / "ours"),
            _installed("pip install httpx", "httpx", folder / "httpx"),
            _installed("pip install flagsmith", "flagsmith", folder / "flagsmith"),
        ]
    return Table(
        row="client-size",
        title="What is downloaded and installed",
        conditions={"compiled files": "not counted"},
        columns=list(lines[0]),
        lines=lines,
    )


def _installed(name: str, what: str, folder: Path) -> dict[str, object]:
    _run("-m", "pip", "install", "-q", "--no-compile", "--target", str(folder), what)
    files = [each for each in folder.rglob("*") if each.is_file()]
    packages = len({*folder.glob("*.dist-info")})
    return _weight(name, "", sum(each.stat().st_size for each in files), packages)


def _weight(name: str, packed: float | str, unpacked: float | str, packages: int | str) -> dict[str, object]:
    def kib(size: float | str) -> float | str:
        return size if isinstance(size, str) else size / 1024

    return {"what": name, "KiB packed": kib(packed), "KiB unpacked": kib(unpacked), "packages": packages}


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def _run(*arguments: str) -> None:
    ran = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if ran.returncode:
        raise EndedError(f"{' '.join(arguments[:4])}: {ran.stderr[-2000:]}")
