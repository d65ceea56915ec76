from __future__ import annotations

import ast
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import sdk_client
from sdk_client import FlagClient, SyncFlagClient

FOLDER = Path(sdk_client.__file__).parent
EXTRAS = {"evaluation.py": "flag_engine", "openfeature": "openfeature"}
"""What is imported where an extra is asked for, and nowhere else."""


def test_all_names_exactly_what_the_package_offers() -> None:
    public = {
        name for name, value in vars(sdk_client).items() if not name.startswith("_") and not hasattr(value, "__path__")
    }
    modules = {path.stem for path in FOLDER.glob("*.py")}
    assert sorted(sdk_client.__all__) == sorted(public - modules)


def offered(client: type) -> set[str]:
    return {name for name in dir(client) if not name.startswith("_")}


def arguments(function: Any) -> dict[str, tuple[object, object]]:
    return {name: (each.annotation, each.default) for name, each in inspect.signature(function).parameters.items()}


def test_both_clients_offer_the_same_but_for_closing_and_what_others_drive_them_by() -> None:
    assert offered(FlagClient) - offered(SyncFlagClient) == {"aclose", "begin_with", "loop"}
    assert offered(SyncFlagClient) - offered(FlagClient) == {"close", "after_fork", "at_exit"}


def test_both_clients_take_the_same_arguments_with_the_same_types_and_defaults() -> None:
    plain, blocking = arguments(FlagClient), arguments(SyncFlagClient)
    assert plain.pop("http") == ("httpx.AsyncClient | None", None)
    assert blocking.pop("http") == ("Callable[[], httpx.AsyncClient] | None", None)
    assert plain == blocking
    for name in offered(FlagClient) & offered(SyncFlagClient) - {"on_change"}:  # which takes coroutine functions in one
        if callable(method := getattr(FlagClient, name)):
            assert arguments(method) == arguments(getattr(SyncFlagClient, name)), name


def test_it_is_marked_as_typed() -> None:
    assert (FOLDER / "py.typed").exists()


def test_it_needs_httpx_and_nothing_else_of_ours_or_others_but_for_its_extras() -> None:
    imported = set()
    for path in FOLDER.rglob("*.py"):
        extra = EXTRAS.get(path.relative_to(FOLDER).parts[0], "")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
        imported.discard(extra)
    assert imported - sys.stdlib_module_names == {"httpx", "sdk_client"}
    assert any(line.startswith("httpx") for line in importlib.metadata.requires("flagstream") or [])


def test_the_rules_know_no_input_or_output() -> None:
    pure = (
        *("decoder", "versions", "reconnect", "stream", "connection", "polling", "refetch", "subscription", "status"),
        *("headers", "keys", "answers", "documents", "flags", "values", "traits", "context", "evaluation"),
        *("errors", "changes", "backlog", "hooks"),
    )
    code = "import sys, types\nsys.modules['sdk_client'] = package = types.ModuleType('sdk_client')\n"
    code += f"package.__path__ = [{str(FOLDER)!r}]  # without its __init__, which imports the client\n"
    code += "".join(f"import sdk_client.{name}\n" for name in pure)
    code += "print([name for name in ('httpx', 'asyncio', 'ssl') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []
