"""The alert rules: they fire when they should, not otherwise, and on figures that are there."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from cdn.report.figures import Figures
from cdn.report.varnishstat import counters
from publisher.messages import surrogate_key
from stream_server.metrics import Metrics
from tests.edge.varnish import Varnish
from tests.servers import missing

FOLDER = Path(__file__).parent.parent.parent / "cdn" / "varnish"
RULES = FOLDER / "alerts.yml"
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
MANUAL = FOLDER.parent.parent / "docs" / "observing-the-edge.md"
NEVER = "vector(0) > 1"


def promtool(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        missing("promtool", "prometheus")
    return subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False)


def test_every_alert_fires_when_it_should_and_stays_silent_otherwise() -> None:
    done = promtool("test", "rules", FOLDER / "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fault", ["never fires", "always fires"])
def test_a_rule_that_is_wrong_would_be_noticed(fault: str, tmp_path: Path) -> None:
    rules = []
    for alert in ALERTS:
        figure = next(figures_of(alert["expr"]))
        expression = NEVER if fault == "never fires" else f"{figure} >= 0"  # that is: as soon as a figure is there
        rules.append({**alert, "expr": expression, "for": "0s"})
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": "flagstream-edge", "rules": rules}]}))
    shutil.copy(FOLDER / "alerts_test.yml", tmp_path)
    done = promtool("test", "rules", tmp_path / "alerts_test.yml")
    noticed = set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
    assert noticed == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_says_what_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert set(alert["annotations"]) == {"summary", "action"}
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert "$labels.instance" in alert["annotations"]["summary"]


def figures_of(expression: str) -> Iterator[str]:
    """Yield the names of what an expression asks for."""
    yield from re.findall(r"\b(?:flagstream_[a-z_]+|up(?=[{ ]))", expression)


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a report on a real Varnish exports."""
    varnish = Varnish(tmp_path_factory.mktemp("edge"), waiting_room="127.0.0.1:1").start()
    try:
        registry = CollectorRegistry()
        figures = Figures(registry)
        figures.counters = asyncio.run(counters(varnish.name))
    finally:
        varnish.stop()
    return generate_latest(registry)


@pytest.fixture
def exported(exposition: bytes) -> set[str]:
    return names(exposition)


def names(exposition: bytes) -> set[str]:
    return set(re.findall(r"^(\w+)", exposition.decode(), re.MULTILINE))


def test_prometheus_takes_the_figures_and_finds_nothing_odd(exposition: bytes) -> None:
    done = promtool("check", "metrics", stdin=exposition.decode())
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_figure_that_an_alert_asks_for_is_exported(exported: set[str]) -> None:
    asked = {name for alert in ALERTS for name in figures_of(alert["expr"])}
    assert len(asked) > len(ALERTS)
    missing_ones = asked - exported - names(Metrics().exposition())
    assert missing_ones == {"up"}, "Prometheus itself makes up, nobody makes the others"


def test_every_figure_and_every_alert_is_in_the_manual(exported: set[str]) -> None:
    manual = MANUAL.read_text()
    for name in exported:
        assert f"`{name}`" in manual or f"`{name.removeprefix('flagstream_edge')}`" in manual, name
    for alert in ALERTS:
        assert f"| `{alert['alert']}` |" in manual


def test_the_digest_of_the_manual_is_the_name_in_the_log() -> None:
    (command,) = re.findall(r"^(printf .*?)\s+#", MANUAL.read_text(), re.MULTILINE)
    done = subprocess.run(["sh", "-c", command], env={**os.environ, "KEY": "a-key"}, capture_output=True, check=True)
    assert surrogate_key("stream", "a-key") == f"stream-{done.stdout.decode().strip()}"
