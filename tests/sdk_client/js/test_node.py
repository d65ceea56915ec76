"""The JavaScript client's machine in Node: the tables that Python's is held to, and numbers of the publisher's own."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from publisher.messages import wire_number
from tests.servers import missing

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CLIENT = ROOT / "sdk_client" / "js"
TYPESCRIPT = ROOT / ".venv" / "flagsmith-js" / "node_modules" / ".bin" / "tsc"


def node(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("node")
    if program is None:
        missing("Node", "nodejs")
    assert program is not None
    env = {**os.environ, **variables}
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=env, timeout=100)


def table_of_versions() -> list[tuple[int, str]]:
    """Times of every age, those around a power of two (where doubles become coarser) and many of today's."""
    chance = random.Random(5)
    halves = 2**51 // 10**6  # microseconds from here on are too many for a product with quarters
    seconds = [2**20, 2**30, 1_735_229_888, 2**31 - 1, 2**31, 2**31 + 5, halves - 1, halves, halves + 1, 2**32 - 1]
    versions = [whole * 10**6 + step for whole in seconds for step in range(2000)]
    versions += [chance.randrange(1_700_000_000 * 10**6, 2**31 * 10**6) for _ in range(10_000)]
    versions += [chance.randrange(2**31 * 10**6, 2**32 * 10**6) for _ in range(10_000)]
    return [(version, wire_number(version)) for version in versions]


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_the_machine_in_node(name: str, tmp_path: Path) -> None:
    table = tmp_path / "versions.json"
    table.write_text(json.dumps(table_of_versions() if name == "versions.test.mjs" else []))
    done = node("--test", "--test-reporter=spec", str(HERE / name), VERSIONS=str(table))
    assert done.returncode == 0, done.stdout.partition("failing tests:")[2] or done.stdout + done.stderr
    assert int(re.findall(r"^ℹ pass (\d+)", done.stdout, re.MULTILINE)[-1]) > 0


def test_the_file_that_pages_load_is_what_the_sources_make() -> None:
    done = node(str(CLIENT / "build.mjs"), "--check")
    assert done.returncode == 0, done.stderr or "run: node sdk_client/js/build.mjs"


def test_types_and_module_offer_the_same_names() -> None:
    listed = node(
        "--input-type=module", "-e", f"console.log(...Object.keys(await import('{CLIENT / 'flagstream.js'}')))"
    )
    declared = re.findall(r"^export class (\w+)", (CLIENT / "flagstream.d.ts").read_text(), re.MULTILINE)
    assert sorted(listed.stdout.split()) == sorted(declared)


def test_types_allow_what_they_should_and_nothing_else() -> None:
    compiler = Path(os.environ.get("TSC", TYPESCRIPT))
    if not compiler.exists():
        pytest.skip("no TypeScript: npm install --prefix .venv/flagsmith-js typescript")
    options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext"]
    done = subprocess.run([compiler, *options, HERE / "types.mts"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
