"""The clients that stand side by side, each as the program that runs it in a process of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.faulty.wire import FEATURE, KEY, SERVER_KEY

__all__ = ["CONTENDERS", "OKHTTP", "OURS", "ROOT", "TURNS", "Contender"]

ROOT: Final = Path(__file__).parent.parent.parent
PROGRAMS: Final = Path(__file__).parent / "programs"
OLD_PYTHON: Final = ROOT / ".venv" / "flagsmith-python-4"
NODE_MODULES: Final = ROOT / ".venv" / "flagsmith-js" / "node_modules"
OUR_JS: Final = ROOT / "sdk_client" / "js"
GO: Final = ROOT / ".venv" / "flagsmith-go"
JAVA_CLASSES: Final = ROOT / ".venv" / "okhttp"


@dataclass(frozen=True, slots=True)
class Contender:
    """A client: `command` runs it against a base URL, `needs` says what it lacks here, if anything."""

    name: str
    command: Callable[[str], Sequence[str]]
    needs: Callable[[], str | None]


def _python(name: str, program: str, key: str, interpreter: Path, install: str) -> Contender:
    return Contender(
        name,
        lambda base: [str(interpreter), str(PROGRAMS / program), base, key, FEATURE],
        lambda: None if interpreter.exists() else install,
    )


def _page(name: str, page: str, folder: Path, install: str, **query: str) -> Contender:
    def command(base: str) -> list[str]:
        asked = {"base": base, "key": KEY, "feature": FEATURE, **query}
        program = [sys.executable, "-m", "benchmarks.faulty.programs.browser", page, str(folder)]
        return [*program, *(f"{name}={value}" for name, value in asked.items())]

    def needs() -> str | None:
        if shutil.which("chromium") is None:
            return "Chromium; on Debian: apt-get install chromium"
        module = query.get("module", "/").removeprefix("/")
        return None if (folder / module).exists() else install

    return Contender(name, command, needs)


_HERE: Final = Path(sys.executable)
_NPM: Final = "the published packages, which scripts/servers installs"
_OLD: Final = f"a venv of its own: python3 -m venv {OLD_PYTHON.relative_to(ROOT)} && …/bin/pip install 'flagsmith==4.*'"
_BUILD: Final = (
    "Go 1.22 or newer, and the program that it makes of the published module: "
    f"go -C {(PROGRAMS / 'flagsmith_go').relative_to(ROOT)} build -o {GO}"
)

CONTENDERS: Final = {
    each.name: each
    for each in (
        _python("FlagClient", "ours.py", KEY, _HERE, ""),
        _python("SyncFlagClient", "ours_sync.py", KEY, _HERE, ""),
        _page("our JS", "ours.html", OUR_JS, "sdk_client/js", module="/flagstream.js"),
        _python("Flagsmith Python 6.3", "flagsmith_python.py", SERVER_KEY, _HERE, ""),
        _python("Flagsmith Python 4.0", "flagsmith_python.py", SERVER_KEY, OLD_PYTHON / "bin" / "python", _OLD),
        Contender(
            "Flagsmith Go 4.2",
            lambda base: [str(GO), base, SERVER_KEY, FEATURE],
            lambda: None if GO.exists() else _BUILD,
        ),
        _page("Flagsmith JS 12.4", "flagsmith.html", NODE_MODULES, _NPM, module="/@flagsmith/flagsmith/index.mjs"),
        _page("EventSource", "event_source.html", PROGRAMS, ""),
    )
}

_MAVEN: Final = (
    "a JDK, Maven and what they make: "
    f"cd {PROGRAMS / 'okhttp'} && mvn dependency:copy-dependencies -DoutputDirectory={JAVA_CLASSES} && "
    f"javac -cp '{JAVA_CLASSES}/*' -d {JAVA_CLASSES} App.java"
)

OKHTTP: Final = Contender(
    "OkHttp 5.5",
    lambda base: ["java", "-cp", f"{JAVA_CLASSES}:{JAVA_CLASSES}/*", "App", base, KEY],
    lambda: None if (JAVA_CLASSES / "App.class").exists() and shutil.which("java") else _MAVEN,
)
"""What Flagsmith's Android SDK rests on, and no client: it hears the stream, and has no flags."""

OURS: Final = ("FlagClient", "SyncFlagClient", "our JS")

TURNS: Final = (
    (*OURS, "Flagsmith JS 12.4", "EventSource"),
    ("Flagsmith Python 6.3",),
    ("Flagsmith Python 4.0",),
    ("Flagsmith Go 4.2",),
)
"""Clients that run at the same time, with a server each; one that loops without a pause has the machine to itself."""
