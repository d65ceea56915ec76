"""What a generator does with orders that make no sense."""

from __future__ import annotations

import pytest

from loadtest.generators import GeneratorError
from loadtest.messages import Ended, Failed, Group, Open, Report, Stop
from loadtest.models import MODELS
from tests.loadtest.swarm.driving import Driven
from tests.sdk_client.scripted import ScriptedServer

pytestmark = pytest.mark.asyncio

GROUP = Group(name="g", model=MODELS["flagsmith-go"], target=0, first=0, count=1, fetches=False)


@pytest.mark.parametrize("started", [False, True], ids=["before the start", "after it"])
async def test_an_order_for_a_group_that_there_is_none_of_is_answered_with_the_reason(started: bool) -> None:
    async with Driven() as driven:
        if started:
            driven.start(9, groups=[GROUP])
        driven.say(Open(group=7, first=0, count=1))
        assert "names a group or an environment" in (await driven.hear(Failed)).reason
    assert driven.status == 0


async def test_a_second_start_is_answered_with_the_reason() -> None:
    async with Driven() as driven:
        driven.start(9, groups=[GROUP])
        driven.start(9, groups=[GROUP])
        assert "twice" in (await driven.hear(Failed)).reason
    assert driven.status == 0


async def test_orders_after_the_last_word_are_not_heard() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go")
        await driven.until(lambda told: told.now.open == 1)
        driven.say(Stop(), Open(group=0, first=1, count=1), Report(), Stop())
        await driven.hear(Ended)
        with pytest.raises(GeneratorError, match="ended with status 0"):
            await driven.hear(Ended)
    assert driven.status == 0
    assert len(server.streams) == 1
