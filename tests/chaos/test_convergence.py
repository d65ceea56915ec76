"""Kill -9 everything, again and again, while flags change: every client ends at the newest version of its flags.

The seed is printed and may be given: FLAGSTREAM_CHAOS_SEED=7 scripts/test tests/chaos -s
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from sdk_client import Change, FlagClient
from tests.chaos.listeners import StreamListener, version_of
from tests.chaos.world import KINDS, Accepted, World, Writer
from tests.servers import NatsServer

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(300)]

ENVIRONMENTS = 45
FOREIGN = 5
CHANGES = 1000
KILLS_OF_EACH = 7
WRITERS = 10
FEATURE = "counter"
CONVERGED_WITHIN = 30


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("FLAGSTREAM_CHAOS_SEED") or secrets.randbelow(10_000))
    print(f"\nFLAGSTREAM_CHAOS_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


@pytest.fixture(params=["two publishers", "the broker's disk is wiped"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, nats_server: NatsServer, chance: random.Random
) -> Iterator[World]:
    two = request.param == "two publishers"
    database_url = (
        request.getfixturevalue("postgres_server").create_database() if two else f"sqlite:///{tmp_path / 'flags.db'}"
    )
    world = World.start(tmp_path, nats_server, database_url, chance, publishers=2 if two else 1, wipes_disk=not two)
    yield world
    world.stop()


async def make_environments(writer: Writer) -> list[Accepted]:
    project = await writer.request("POST", "/api/projects", {"name": "Chaos"})
    base = f"/api/projects/{project['id']}"
    await writer.request("POST", f"{base}/features", {"name": FEATURE, "enabled": True, "value": 0})
    made = [
        await writer.request("POST", f"{base}/environments", {"name": f"e{number}"}) for number in range(ENVIRONMENTS)
    ]
    foreign = [Accepted(f"foreign-{number}", is_foreign=True) for number in range(FOREIGN)]
    return [Accepted(each["key"]) for each in made] + foreign


async def write(writer: Writer, mine: list[Accepted], share: int, chance: random.Random) -> None:
    for number in range(share):
        await writer.change(mine[number % len(mine)], FEATURE)
        await asyncio.sleep(chance.uniform(0, 0.6))


async def kill_all_kinds(world: World) -> None:
    victims = list(KINDS) * KILLS_OF_EACH
    world.chance.shuffle(victims)
    for kind in victims:
        await asyncio.sleep(world.chance.uniform(0.2, 1.2))
        await world.kill(kind)


def note(versions: list[int], change: Change) -> None:
    versions.append(change.version)


async def wait_for(what: str, seconds: float, missing: object) -> None:
    """Wait until `missing()` is empty."""
    assert callable(missing)
    try:
        async with asyncio.timeout(seconds):
            while missing():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"{what}: not within {seconds} s: {missing()}")


async def logged_versions(writer: Writer, key: str) -> dict[int, object]:
    """Return the change log of one environment: version and when it was pushed."""
    logged: dict[int, object] = {}
    following = f"/api/changes?environment={key}&limit=500"
    while following:
        answer = await writer.request("GET", following, None)
        logged |= {version_of(row["updated_at"]): row["pushed_at"] for row in answer["items"] if row["updated_at"]}
        following = answer["next"]
    return logged


@pytest.mark.asyncio
async def test_every_client_ends_at_the_newest_version_whatever_dies(world: World) -> None:
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=15))
        writer = Writer(world, http)
        environments = await make_environments(writer)

        listeners = [StreamListener(world.streams.url, each.key) for each in environments]
        listening = [group.create_task(listener.run()) for listener in listeners]
        own = [each for each in environments if not each.is_foreign]
        clients = {
            each.key: await stack.enter_async_context(
                FlagClient(
                    environment_key=each.key,
                    api_url=world.streams.url,
                    stream_url=world.streams.url,
                    ready_timeout=60,
                )
            )
            for each in own
        }
        seen: dict[str, list[int]] = {each.key: [] for each in own}
        for each in own:
            clients[each.key].on_change(partial(note, seen[each.key]))

        async with asyncio.TaskGroup() as storm:
            storm.create_task(kill_all_kinds(world))
            for number in range(WRITERS):
                mine = environments[number::WRITERS]
                storm.create_task(write(writer, mine, CHANGES // WRITERS, world.chance))
        assert all(count >= KILLS_OF_EACH for count in world.kills.values())
        assert sum(len(each.versions) for each in environments) == CHANGES
        for program in (*world.publishers, world.streams):
            await asyncio.to_thread(program.wait_ready)

        newest = {each.key: each.versions[-1] for each in environments}
        await wait_for(
            "every bare stream ends at the newest version",
            CONVERGED_WITHIN,
            lambda: {each.key: newest[each.key] - each.newest for each in listeners if each.newest != newest[each.key]},
        )
        await wait_for(
            "every client holds the value written last",
            CONVERGED_WITHIN,
            lambda: {
                each.key: (clients[each.key].value(FEATURE), each.value)
                for each in own
                if clients[each.key].value(FEATURE) != each.value or clients[each.key].version < newest[each.key]
            },
        )

        # Nothing that was answered 2xx is lost, and versions never went back, anywhere.
        for each in environments:
            assert each.versions == sorted(set(each.versions)), "the publisher's own answers only grow"
        for each in own:
            logged = await logged_versions(writer, each.key)
            assert set(each.versions) <= set(logged)
            assert None not in logged.values(), "every change was pushed"
            assert seen[each.key] == sorted(seen[each.key])
        assert not {listener.key: steps for listener in listeners if (steps := listener.steps_back())}
        for program in (*world.publishers, world.streams):
            assert "Traceback" not in program.output(), program.output()
        if world.wipes_disk:
            assert world.wipes >= 1
        for task in listening:
            task.cancel()
