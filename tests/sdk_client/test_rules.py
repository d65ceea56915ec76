"""The rules of docs/client-rules.md as tables, played to the Python machine; rules/README.md says how to read them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sdk_client.documents import Document
from sdk_client.subscription import Action, Became, Close, Ended, Fetch, Keep, Live, Open, Subscription
from tests.sdk_client.scripted import V1, V2, V3, event

Case = dict[str, Any]

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "rules"
TABLES: dict[str, dict[str, Case]] = {
    path.stem: {case["name"]: case for case in json.loads(path.read_text())} for path in sorted(FOLDER.glob("*.json"))
}
VERSIONS = {"V1": V1, "V2": V2, "V3": V3}


class Certain(Random):
    """Draws the same every time."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def uniform(self, a: float, b: float) -> float:
        return a + self._share * (b - a)


def version_of(name: str | int) -> int:
    return VERSIONS[name] if isinstance(name, str) else name


def shown(action: Action) -> list[Any]:  # noqa: PLR0911 - one for each action
    match action:
        case Open(stream):
            return ["open", stream]
        case Close(stream):
            return ["close", stream]
        case Live(stream):
            return ["live", stream]
        case Ended(stream, end, wait):
            return ["ended", stream, end.kind.value, wait if wait is None else pytest.approx(wait)]
        case Fetch(version):
            names = {number: name for name, number in VERSIONS.items()}
            return ["fetch", names.get(version, version)]
        case Keep():
            return ["keep"]
        case Became(status):
            return ["status", status.value]


def tell(machine: Subscription, what: str, arguments: dict[str, Any], now: float) -> list[Action]:
    match what:
        case "received":
            body = arguments["body"].encode().replace(b"<LONG>", b"x" * 70_000)
            for name, version in VERSIONS.items():
                body = body.replace(b"<%s>" % name.encode(), event(version))
            return machine.received(arguments["stream"], body, now)
        case "fetched":
            labelled, stale = arguments.get("labelled", True), arguments.get("stale", False)
            return machine.fetched(Document({}, version_of(arguments["version"]), labelled, stale), now)
        case "fetch_failed":
            return machine.fetch_failed(now, arguments.get("retry_after", 0.0))
    answer: list[Action] = getattr(machine, what)(**arguments, now=now)
    return answer


def play(case: Case, table: dict[str, Case], machine: Subscription, *, check: bool = True) -> None:
    if "after" in case:
        play(table[case["after"]], table, machine, check=False)
    for at, what, arguments, *rest in case["steps"]:
        if what == "deadline":
            expected = math.inf if arguments is None else arguments
            assert not check or machine.deadline == pytest.approx(expected), f"deadline at {at}"
            continue
        answer = [shown(action) for action in tell(machine, what, arguments, at)]
        assert not check or answer == rest[0], f"{what} at {at}"


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, table in TABLES.items() for case in table], ids=lambda value: value
)
def test_the_machine_does_what_the_table_says(name: str, case: str) -> None:
    table = TABLES[name]
    played = table[case]
    machine = Subscription(random=Certain(played.get("random", 0.5)), **played.get("settings", {}))
    play(played, table, machine)


def test_every_rule_that_is_stated_has_a_case() -> None:
    stated = re.findall(r"^(\d+)\. ", (ROOT / "docs" / "client-rules.md").read_text(), re.MULTILINE)
    covered = {number for table in TABLES.values() for case in table.values() for number in case["rules"]}
    assert covered == set(map(int, stated))
