from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.plan.reading import PlanError, read
from loadtest.plan.settings import Plan


def faults(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(PlanError) as caught:
        read(file)
    return [fault.removeprefix(f"{file}:") for fault in caught.value.faults]


def test_without_a_file_there_is_a_whole_plan() -> None:
    assert read(None) == Plan()


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("[clients]\ncount = 5\nopen_over = 3\n")
    plan = read(file, {"clients.count": 7})
    assert (plan.clients.count, plan.clients.open_over) == (7, 3)


def test_every_fault_is_named_with_its_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        '[clients]\ncount = 0\nclint = 3\n[[clients.mix]]\nmodel = "netscape"\n[edge]\nshield = "big"\n',
    )
    assert [fault.split(":")[0] for fault in found] == ["2", "3", "5", "7"]
    assert "count = 0 must be greater than or equal to 1" in found[0]
    assert "did you mean count?" in found[1]
    assert "no client model 'netscape'" in found[2]
    assert "'none', 'region' or 'one'" in found[3]


def test_what_does_not_fit_together_is_named_with_its_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "[streams]\nlifetime = 10\njoin_window = 9\n"
        '[[failures]]\nat = 500\ndo = "origin"\n[[failures]]\nat = 501\ndo = "pop"\ncount = 60\n[run]\nseconds = 180\n',
    )
    assert [int(fault.split(":")[0]) for fault in found] == [3, 4, 5, 8, 10]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = ", "1: is not TOML"),
        ("clients = 5\n", "1: clients = 5 must be a table"),
        ("regions = 2\n", "1: regions = 2 must be a list of tables"),
        ('[run]\nseconds = "x"\n', '2: run.seconds = "x" must be a valid number'),
        ("[prices]\ncdn = [{per_gb = 1, up_to_gb = 5}]\n", "2: prices.cdn"),
        ("[prices]\negress = [{per_gb = 1, up_to_gb = 5}, {per_gb = 2, up_to_gb = 5}, {per_gb = 1}]\n", "2: "),
        ("[environments]\ncount = 1_000_000\n", "2: environments.count"),
        ('[edge]\non = false\n[[failures]]\nat = 1\ndo = "cdn"\n', "5: failures[0].do: there is no edge"),
    ],
    ids=[
        "no toml",
        "no table",
        "no list",
        "no number",
        "endless tier missing",
        "tiers that do not ascend",
        "too many nodes",
        "no edge to lose",
    ],
)
def test_a_fault_says_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    [fault] = faults(tmp_path, text)
    assert fault.startswith(says)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"plan\.toml: cannot be read: No such file"):
        read(tmp_path / "plan.toml")


@pytest.mark.parametrize(
    ("text", "ends", "failures"),
    [
        ("", 180, [("pop", 90), ("origin", 130)]),
        ("[streams]\nlifetime = 600\n", 1320, [("pop", 1230), ("origin", 1270)]),
        ("[edge]\non = false\n", 140, [("origin", 90)]),
        ("[run]\nseconds = 60\n", 60, []),
        ('[[failures]]\nat = 200\ndo = "origin"\n', 250, [("origin", 200)]),
        ('[[regions]]\nname = "here"\npops = 1\n', 180, [("origin", 130)]),
        ("[streams]\nlifetime = 86400\n", 3600, [("pop", 3510), ("origin", 3550)]),
    ],
    ids=["defaults", "long streams", "direct", "short run", "failures alone", "one POP", "longest"],
)
def test_failures_and_the_run_come_after_the_steady_state(
    tmp_path: Path, text: str, ends: float, failures: list[tuple[str, float]]
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    plan = read(file)
    assert plan.run.seconds == ends
    assert [(failure.do, failure.at) for failure in plan.failures] == failures


@pytest.mark.parametrize(
    "text",
    [
        "regions = 3\n",
        'run = "x"\n',
        "failures = 1\n",
        "streams = []\n",
        "clients = 5\n",
        '[streams]\nlifetime = "x"\n',
        '[run]\nseconds = "x"\n',
        "edge = 1\n",
        '[[regions]]\npops = "x"\n',
        "failures = [1]\n",
    ],
    ids=str,
)
def test_what_is_of_another_kind_is_a_fault_with_its_line(tmp_path: Path, text: str) -> None:
    assert all(fault[0].isdigit() for fault in faults(tmp_path, text))
