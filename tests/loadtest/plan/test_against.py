from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from typer.testing import CliRunner

from flagstream.cli import app
from loadtest.plan.against import compared
from loadtest.plan.likeness import UnlikeError, plan_of, share_had
from loadtest.results import Fault, Generator, Readmission, Results, Series, Streams, written

SCENARIO: dict[str, Any] = {
    "title": "Storm",
    "seconds": 40.0,
    "local": {"workers": 2, "settings": {"lifetime": 20}},
    "environments": {"count": 3},
    "clients": {"count": 400, "open_over": 2, "mix": [{"model": "eventsource", "share": 1, "via": "default"}]},
    "publish": {"rate": 1, "until": None},
    "timeline": [{"at": 12, "do": "kill", "part": "workers"}],
    "thresholds": {},
}


def results(**changed: Any) -> Results:
    return Results(
        name="storm",
        verdict="passed",
        streams=Streams(clients=400, opened=1200, peak=400),
        faults=[
            Fault(
                number=1,
                at_s=12.0,
                what="kill workers",
                lost=399,
                readmission=Readmission(count=399, p50_s=2.4, p99_s=3.1, max_s=3.3),
            )
        ],
        series=Series(
            at_s=[1.0, 2.0, 50.0], open=[10, 400, 400], opens_per_s=[10.0, 390.0, 0.0], origin_streams=[9, 399, 400]
        ),
        scenario={**SCENARIO, **changed},
    )


@pytest.mark.parametrize("machine", [None, "a big one", {}, {"cores": None}], ids=str)
def test_a_machine_of_which_results_say_no_cores_has_one_for_each_worker(machine: object) -> None:
    silent = structs.replace(results(local=None), provenance={"machine": machine})
    assert plan_of(silent).origin.cores == plan_of(silent).origin.processes


def test_the_plan_of_a_run_is_what_the_run_was() -> None:
    plan = plan_of(results())
    assert (plan.clients.count, plan.environments.count, plan.streams.lifetime) == (400, 3, 20)
    assert plan.edge.on is False
    assert plan.origin.processes == 2
    assert [(failure.at, failure.do, failure.share) for failure in plan.failures] == [(12, "workers", 1)]


def test_one_worker_of_four_is_a_quarter_of_them() -> None:
    plan = plan_of(results(local={"workers": 4}, timeline=[{"at": 3, "do": "kill", "part": "worker"}]))
    assert plan.failures[0].share == 0.25


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"timeline": [{"at": 1, "do": "freeze", "part": "workers", "down": 3}]},
            "has 'freeze' of 'workers' at 1 s, which no plan",
        ),
        ({"clients": {"count": 1, "mix": [{"model": "eventsource", "slow": {}}]}}, "read slowly"),
        ({"clients": {}}, "cannot be read"),
    ],
    ids=["freeze", "slow readers", "no scenario"],
)
def test_a_run_that_no_plan_can_be_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(UnlikeError, match=says):
        plan_of(results(**changed))


def test_a_workers_share_is_what_each_got_from_its_start_until_it_opened_streams() -> None:
    busy = Series(
        at_s=[11.0, 12.0, 12.5, 13.0, 13.5, 14.0],
        opens_per_s=[3.0, 3.0, 0.0, 0.0, 0.0, 200.0],
        connecting=[0, 0, 100, 300, 400, 0],
        cpu={"stream_server": [0.01, 0.01, 0.9, 0.4, 0.6, 1.9]},
    )
    # The first point after the kill has what came before it, too.
    assert share_had(structs.replace(results(), series=busy)) == pytest.approx(0.25)
    assert share_had(results()) == 1.0


def test_where_one_worker_is_killed_its_share_is_at_most_what_all_used() -> None:
    busy = Series(at_s=[1.0, 2.0, 3.0], connecting=[0, 300, 400], cpu={"stream_server": [0.01, 0.4, 0.6]})
    one = structs.replace(results(), series=busy, faults=[Fault(number=1, at_s=1.5, what="kill worker")])
    assert share_had(one) == pytest.approx(0.5)


def test_predicted_and_measured_lie_side_by_side() -> None:
    comparison = compared(results())
    figures = {figure.name: figure for figure in comparison.figures}
    assert figures["Streams, most at once"].predicted == 400
    assert figures["kill workers, at 12.0 s: lost"].measured == 399
    assert figures["kill workers, at 12.0 s: lost"].predicted == 400
    back = figures["kill workers, at 12.0 s: back, 50 %"].predicted
    assert back is not None
    assert 1.0 < back < 3.2  # 1 to 3 s at random, and the start of a worker
    assert comparison.at_s == [1.0, 2.0]
    for curve in comparison.curves:
        assert len(curve.predicted) == len(curve.measured) == 2


def test_what_is_opened_is_compared_within_the_run_and_in_its_busiest_whole_second() -> None:
    # 20 a second on average, in portions; what is opened while clients become quiet after the run is not of it.
    at = [number / 4 for number in range(1, 200)]
    opens = [80.0 if number % 4 == 0 else 0.0 for number in range(1, 200)]
    run = structs.replace(results(), series=Series(at_s=at, opens_per_s=opens, open=[1] * 199))
    figures = {figure.name: figure.measured for figure in compared(run).figures}
    assert figures["Streams opened in 40.0 s"] == 800
    assert figures["kill workers, at 12.0 s: opens in the busiest second"] == 20


def test_what_the_machine_spoilt_is_said_beside_the_figures(tmp_path: Path) -> None:
    spoilt = structs.replace(
        results(),
        warnings=["the generator was the limit: a timer of it was 1777 ms late"],
        generator=Generator(was_the_limit=True),
        series=Series(
            at_s=[11.0, 12.0, 13.0, 14.0], opens_per_s=[0.0] * 4, cpu={"stream_server": [0.1, 0.1, 0.4, 0.4]}
        ),
    )
    file, page = tmp_path / "results.json", tmp_path / "page.html"
    file.write_bytes(written(spoilt))
    ran = CliRunner().invoke(app, ["plan", "--against", str(file), "--html", str(page)])
    for shown in (" ".join(ran.output.split()), " ".join(page.read_text().split())):
        assert "a timer of it was 1777 ms late" in shown
        assert "a machine that was full" in shown
        assert "20 % of a core" in shown
    assert compared(results()).notes == []


def test_behind_an_edge_it_is_said_how_much_chance_there_is_in_who_is_cut() -> None:
    changed = {"local": {"workers": 2, "edge": "varnish"}, "environments": {"count": 25}}
    kill = [{"at": 12, "do": "kill", "part": "worker"}]
    run = structs.replace(results(**changed, timeline=kill), faults=[Fault(number=1, at_s=12.0, what="kill worker")])
    assert "50 % of the 25 environments, give or take 10 %." in compared(run).notes[0]
    # Who waits behind an edge where no worker is killed waits for the edge, and tells nothing of the workers.
    crowd = Series(at_s=[1.0, 2.0, 3.0], connecting=[0, 300, 400], cpu={"stream_server": [0.01, 0.01, 0.01]})
    assert share_had(structs.replace(results(**changed, timeline=[]), series=crowd, faults=[])) == 1.0


def test_the_command_compares_and_writes_a_page(tmp_path: Path) -> None:
    file, page = tmp_path / "results.json", tmp_path / "page.html"
    file.write_bytes(written(results()))
    ran = CliRunner().invoke(app, ["plan", "--against", str(file), "--html", str(page)])
    assert ran.exit_code == 0, ran.output
    assert "Predicted and measured" in ran.output
    assert b"against-open" in page.read_bytes()


def test_the_command_writes_json_and_a_page_that_loads_nothing(tmp_path: Path) -> None:
    page, file = tmp_path / "plan.html", tmp_path / "plan.json"
    options = ["--clients", "300", "--environments", "4", "--seconds", "60", "--direct", "--json", str(file)]
    plan = tmp_path / "plan.toml"
    plan.write_text('title = "<b>ours</b>"\nfailures = [{at = 30, do = "origin", down = 5}]\n')
    ran = CliRunner().invoke(app, ["plan", str(plan), *options, "--html", str(page)])
    assert ran.exit_code == 0, ran.output
    found = json.loads(file.read_bytes())
    assert found["clients"] == 300
    assert found["failures"][0]["cut"] > 0
    assert {"steady", "series", "costs", "sizing", "documents", "break_even_clients"} <= found.keys()
    html = page.read_text()
    assert "<b>ours</b>" not in html
    assert "&lt;b&gt;ours&lt;/b&gt;" in html
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert 'src="' not in html


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--clients", "0"], "clients.count = 0"),
        (["--mix", "flagsmith-js=x"], "say MODEL=SHARE"),
        (["--against", "x.json", "--clients", "5"], "--against simulates"),
        (["--against", "nowhere.json"], "cannot be read"),
        (["nowhere.toml"], "cannot be read"),
    ],
    ids=["too few", "mix", "both", "no results", "no file"],
)
def test_what_cannot_be_is_said_in_a_sentence(options: list[str], says: str) -> None:
    ran = CliRunner().invoke(app, ["plan", *options])
    assert ran.exit_code == 2
    assert says in ran.output
    assert "Traceback" not in ran.output


def test_without_numpy_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    ran = CliRunner().invoke(app, ["plan", "--clients", "10"])
    assert ran.exit_code == 1
    assert ran.output.strip().count("\n") == 0
    assert "pip install 'flagstream[loadtest]'" in ran.output


def test_a_fleet_of_one_is_planned_and_counted_as_one_and_a_plan_without_failures_has_no_table_of_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("failures = []")
    ran = CliRunner().invoke(app, ["plan", str(file), "--clients", "1", "--direct"])
    assert ran.exit_code == 0, ran.output
    assert "1 client, " in ran.output
    assert "Failures" not in ran.output


def test_who_is_long_in_opening_has_a_steady_state_after_that(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan = tmp_path / "plan.toml"
    plan.write_text("failures = []\n[clients]\ncount = 20\nopen_over = 300\n[run]\nstep = 0.25\n")
    ran = CliRunner().invoke(app, ["plan", str(plan), "--json", str(file)])
    assert ran.exit_code == 0, ran.output
    found = json.loads(file.read_bytes())
    assert found["notes"] == []
    assert found["steady"]["since_s"] >= 330
