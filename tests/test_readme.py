"""What the README and the docs say is true: every setting, every code block, every link."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdn.settings import CdnSettings
from flagstream.settings import ProgramSettings, load
from publisher.settings import PublisherSettings
from stream_server.settings import StreamServerSettings
from tests.loadtest.test_built_in_runs import run_command
from tests.programs import COMMAND, Up, environment
from tests.servers import NatsServer, wait_until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "cdn").rglob("README.md")),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def settings_table(program: str) -> str:
    """Render `default.toml` as the README's table: name, default, meaning."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for line in (ROOT / program / "default.toml").read_text().splitlines():
        if found := re.match(r"(\w+) = (.+?)\s+# (.+)", line):
            name, default, meaning = found.groups()
            rows.append(f"| `{name}` | `{default}` | {meaning} |")
    return "\n".join(rows)


@pytest.mark.parametrize("model", [PublisherSettings, StreamServerSettings, CdnSettings])
def test_the_readme_lists_every_setting_with_its_default(model: type[ProgramSettings]) -> None:
    table = settings_table(model.program)
    assert table.count("\n| `") == len(model.model_fields)
    assert f"<!-- settings: {model.program} -->\n\n{table}\n" in README, f"the README should have:\n{table}"


def test_the_production_settings_of_the_readme_are_valid(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    site = tmp_path / "flagstream.toml"
    site.write_text(text)
    for model in (PublisherSettings, StreamServerSettings, CdnSettings):
        load(model, environ={"FLAGSTREAM_CONFIG": str(site)})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_no_block_of_the_readme_goes_untested() -> None:
    languages = re.findall(r"^```(\w+)$", README, re.MULTILINE)
    assert sorted(languages) == sorted(["text"] * 2 + ["sh"] * 6 + ["python"] * 3 + ["js", "toml"])


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up"), measured=False) as running:
        yield running


def here(up: Up, block: str) -> str:
    """Put the addresses and keys of a running stack where the README has the defaults."""
    stack = up.stack
    return block.replace("http://127.0.0.1:8088", stack["stream"]).replace("http://127.0.0.1:8000", stack["publisher"])


def streams_open(up: Up) -> int:
    key = up.stack["environment"]["key"]
    return int(up.api("GET", f"/api/streams?environment={key}")["streams"][key])


def shell(up: Up, block: str) -> subprocess.CompletedProcess[str]:
    tools = Path(sys.executable).parent
    env = environment(
        KEY=up.stack["environment"]["key"],
        FLAGSTREAM_URL=up.stack["publisher"],
        FLAGSTREAM_TOKEN=up.stack["admin_token"],
    )
    script = "set -e\n" + here(up, block).replace(".venv/bin/", f"{tools}/")
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=env, timeout=30)


@pytest.mark.slow
def test_the_shell_blocks_do_what_the_walk_through_says(up: Up) -> None:
    commands, watch, toggle, raw, *_ = blocks("sh")
    for command in ("scripts/up", "scripts/test"):
        assert f"\n{command} " in f"\n{commands}"
        assert (ROOT / command).stat().st_mode & 0o111

    assert watch.startswith("export KEY=…\n")
    watching = here(up, watch.partition("\n")[2].replace(".venv/bin/flagstream", " ".join(COMMAND)))
    watching = watching.replace("watch", f"watch --api-url {up.stack['stream']}").strip()
    env = environment(KEY=up.stack["environment"]["key"], PYTHONUNBUFFERED="1")
    with subprocess.Popen(["bash", "-c", f"exec {watching}"], stdout=subprocess.PIPE, text=True, env=env) as watcher:
        assert watcher.stdout is not None
        try:
            wait_until(lambda: streams_open(up) == 1, "the stream of watch")
            done = shell(up, toggle)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith('banner is off, value "a"')
            assert '\nbanner is on, value "hello"' in done.stdout
            lines = [watcher.stdout.readline() for _ in range(2)]
        finally:
            watcher.terminate()
    assert "hello" in lines[1]

    assert '"feature_state_value"' in shell(up, raw.splitlines()[1]).stdout
    stream = shell(up, raw.splitlines()[0].replace("--max-time 3", "--max-time 1"))
    assert stream.stdout.startswith('event: environment_updated\ndata: {"updated_at": ')


def test_the_storm_of_the_readme_is_the_one_that_is_run() -> None:
    """tests/loadtest/test_built_in_runs.py runs it."""
    (command,) = blocks("sh")[4].splitlines()
    page = ["--html", "storm.html"]
    assert command.split() == [".venv/bin/flagstream", *run_command("storm"), *page]


@pytest.mark.slow
def test_the_plan_of_the_readme_is_made(tmp_path: Path) -> None:
    (command,) = blocks("sh")[5].splitlines()
    words = [*COMMAND, *command.split()[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "<script" in (tmp_path / "plan.html").read_text()


def python(up: Up, block: str, constants: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", f"{constants}\n{here(up, block)}"]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT, timeout=30, env=environment())


@pytest.mark.slow
def test_the_client_of_the_readme_prints_the_flag_and_follows_it(up: Up) -> None:
    up.toggle(enabled=True, value="first")
    block = blocks("python")[0].replace("async for change in flags.changes():", "async for change in once(flags):")
    # The loop of the README never ends; this one ends after the first change.
    once = "async def once(flags):\n    async for change in flags.changes():\n        yield change\n        return\n"

    async def change_soon() -> subprocess.CompletedProcess[str]:
        running = asyncio.create_task(
            asyncio.to_thread(python, up, block, f"KEY = {up.stack['environment']['key']!r}\n{once}")
        )
        number = 0
        while not running.done():
            number += 1
            await asyncio.to_thread(up.toggle, value=f"change {number}")
            await asyncio.sleep(0.5)
        return await running

    done = asyncio.run(change_soon())
    assert done.returncode == 0, done.stderr
    first, followed = done.stdout.splitlines()
    assert first.startswith("True ")
    assert re.fullmatch(r"banner .+ -> change \d+", followed)


@pytest.mark.slow
def test_the_published_python_sdk_of_the_readme_reads_the_flag(up: Up) -> None:
    up.toggle(enabled=True, value="for Flagsmith")
    server_key = up.stack["environment"]["server_key"]
    done = python(up, blocks("python")[1], f"SERVER_KEY = {server_key!r}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "for Flagsmith"


@pytest.mark.slow
def test_the_library_call_of_the_readme_announces(nats_server: NatsServer) -> None:
    block = blocks("python")[2].replace("nats://127.0.0.1:4222", nats_server.url)
    program = [sys.executable, "-c", block + "\nflag_saved('an-environment')\nprint('announced')"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT, timeout=30)
    assert (done.returncode, done.stdout) == (0, "announced\n"), done.stderr
