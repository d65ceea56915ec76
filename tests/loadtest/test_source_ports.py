from __future__ import annotations

import contextlib

import pytest

from flagstream.cli.loadtest.source_ports import check_ports
from loadtest.scenario.schema import Scenario
from loadtest.targets import PreflightError

HALVES = [
    {"name": "direct", "model": "flagstream", "share": 1, "via": "origin"},
    {"name": "edge", "model": "flagstream", "share": 1, "via": "edge"},
]


@pytest.mark.parametrize(
    ("clients", "urls", "said"),
    [
        pytest.param(70_000, {"origin": "http://192.0.2.1"}, "70,000 clients of the origin take a port each", id="far"),
        pytest.param(70_000, {"edge": "http://[::1]:8080"}, "clients of the edge", id="loopback of IPv6"),
        pytest.param(70_000, {"origin": "http://127.0.0.1:1"}, "", id="loopback"),
        pytest.param(70_000, {"origin": "http://nobody.invalid"}, "", id="no such name"),
        pytest.param(500, {"origin": "http://192.0.2.1"}, "", id="few"),
        pytest.param(
            140_000,
            {"origin": "http://127.0.0.1", "edge": "http://192.0.2.1"},
            "70,000 clients of the edge",
            id="two ways",
        ),
    ],
)
@pytest.mark.asyncio
async def test_more_clients_than_ports_towards_a_server_are_refused_beforehand(
    clients: int, urls: dict[str, str], said: str
) -> None:
    mix = HALVES if len(urls) > 1 else [{"model": "flagstream", "share": 1}]
    scenario = Scenario.model_validate({"title": "x", "seconds": 1, "clients": {"count": clients, "mix": mix}})
    with pytest.raises(PreflightError, match=said) if said else contextlib.nullcontext():
        await check_ports(scenario, urls)
