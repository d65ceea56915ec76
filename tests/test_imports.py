"""Imports point one way; each package says in its docstring what it may use, and here it is held to it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"flagstream", "publisher", "stream_server", "sdk_client", "loadtest", "cdn", "tests", "benchmarks"}
# Both programs face the same clients, so what bounds them (`flagstream.protocol`) is a leaf and not written twice.
LEAVES = {
    "flagstream.settings",
    "flagstream.logs",
    "flagstream.protocol",
    "flagstream.cancelling",
    "flagstream.temporary",
}

ALLOWED: dict[str, set[str]] = {
    "publisher": LEAVES,
    "stream_server": LEAVES | {"publisher.messages"},
    "sdk_client": set(),
    # The edge's numbers are the stream server's, and what feeds another fan-out follows the broker as it does.
    "cdn": LEAVES
    | {"publisher.messages"}
    | {f"stream_server.{module}" for module in ("settings", "addresses", "feed", "frames")},
    # The swarm is clients: what they decide without I/O, and how a change is announced to a publisher.
    "loadtest": {"flagstream.logs", "flagstream.endings", "flagstream", "publisher.messages"}
    | {f"sdk_client.{module}" for module in ("decoder", "errors", "headers", "reconnect", "stream", "versions")},
    "flagstream/settings.py": set(),
    "flagstream/logs.py": set(),
    "flagstream/cancelling.py": set(),
    "flagstream/endings.py": set(),
    "flagstream/temporary.py": set(),
    "flagstream/protocol.py": set(),
    "flagstream/__init__.py": set(),
    "flagstream/__main__.py": {"flagstream.cli"},
    "flagstream/cli": {
        *(LEAVES | {"flagstream", "flagstream.cli", "flagstream.endings"}),
        *("publisher.main", "publisher.settings", "stream_server.main", "stream_server.settings"),
        *("sdk_client", "loadtest", "cdn"),
    },
}
FORBIDDEN_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "manager", "service", "misc"}


def sources(place: str) -> Iterator[Path]:
    path = ROOT / place
    return iter([path]) if path.is_file() else path.rglob("*.py")


def own_imports(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, wherever in it."""
    found: set[str] = set()
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).rstrip(".")
            found.add(base)
    return {name for name in found if name.split(".")[0] in OURS}


def is_allowed(name: str, place: str) -> bool:
    own = place.split("/", maxsplit=1)[0]
    if own != "flagstream" and (name == own or name.startswith(f"{own}.")):
        return True
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[place] - {"flagstream"}) or (
        name == "flagstream" and "flagstream" in ALLOWED[place]
    )


@pytest.mark.parametrize("place", ALLOWED)
def test_packages_import_only_what_their_charter_allows(place: str) -> None:
    breaches = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(place)
        for name in own_imports(path)
        if not is_allowed(name, place)
    ]
    assert not breaches


def test_what_is_below_http_in_the_publisher_does_not_import_it() -> None:
    above = {"publisher.api", "publisher.dashboard"}
    breaches = {
        f"{path.name} imports {name}"
        for path in (ROOT / "publisher").glob("*.py")
        for name in own_imports(path)
        if path.name != "app.py" and ".".join(name.split(".")[:2]) in above
    }
    assert not breaches


def test_every_package_of_the_wheel_has_a_rule_and_a_charter() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {place.split("/", maxsplit=1)[0] for place in ALLOWED}
    for package in packages:
        charter = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
        assert charter, package
        assert len(charter) > 100, f"{package}: the charter says too little"


def test_no_module_is_named_after_nothing() -> None:
    named = {path for place in ALLOWED for path in sources(place)}
    assert not {str(path) for path in named if {path.stem, path.parent.name} & FORBIDDEN_NAMES}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("sdk_client", {"starlette", "uvicorn", "nats", "sqlalchemy", "redis", "msgspec", "typer"}),
        ("flagstream.cli", {"loadtest", "jinja2", "numpy"}),
        ("publisher", {"starlette", "uvicorn", "sqlalchemy", "typer"}),
        ("stream_server.main", {"sqlalchemy", "alembic", "typer"}),
    ],
)
def test_a_program_loads_only_what_it_needs(module: str, unwanted: set[str]) -> None:
    report = f"import {module}, sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True, cwd=ROOT)
    assert not unwanted & set(done.stdout.split())
