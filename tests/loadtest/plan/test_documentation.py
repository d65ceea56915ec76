from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadtest.plan.reading import read
from loadtest.plan.settings import Costs, Failure, Plan, Prices

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs" / "planning.md").read_text()
MEASURED = (ROOT / "benchmarks" / "RESULTS.md").read_text()


def test_the_plan_in_the_manual_is_one(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)
    file = tmp_path / "plan.toml"
    file.write_text(block)
    assert read(file).clients.count == 5_000_000


def test_every_table_of_a_plan_and_every_failure_is_in_the_manual() -> None:
    tables = [name for name in Plan.model_fields if name != "title"]
    missing = [name for name in tables if f"[{name}]" not in MANUAL and f"[[{name}" not in MANUAL]
    assert not missing
    kinds = Failure.model_fields["do"].annotation
    assert all(f"`{kind}`" in MANUAL for kind in kinds.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize("figure", ["5.36", "68", "50 µs", "0.83", "23.2", "47.4", "1.68 s"])
def test_default_costs_are_those_that_were_measured(figure: str) -> None:
    assert figure in MEASURED
    assert figure in MANUAL


def test_the_manual_says_what_the_defaults_are() -> None:
    costs, prices = Costs(), Prices()
    assert (costs.delivery_us, costs.open_us, costs.document_us) == (5.36, 68.0, 50.0)
    assert (costs.stream_kib, costs.edge_delivery_us, costs.edge_client_kib) == (0.83, 23.2, 47.4)
    assert Plan().origin.restart == pytest.approx(1.68 - 15_000 * costs.open_us * 1e-6)
    assert f"{costs.open_alone_us:g} µs (`open_alone_us`)" in MANUAL
    assert f"{costs.tls_open_us:g} µs, {costs.tls_delivery_us:g} µs and {costs.tls_kib:g} KiB (`tls_…`)" in MANUAL
    for price in (prices.cdn[0].per_gb, prices.cdn_per_10k_requests, prices.cdn_least, prices.machine):
        assert f"${price:g}" in MANUAL or f"${price:.2f}" in MANUAL
