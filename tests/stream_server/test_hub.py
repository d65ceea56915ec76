"""The hub by itself: maxima, pace, turns, controls, and channels that come and go."""

from __future__ import annotations

import asyncio
import random
import select
import socket
from collections.abc import Iterable

import pytest

from stream_server.control import EVERYONE, Controls
from stream_server.frames import Frame
from stream_server.hub import SLICE, TOUCHED, Hub
from stream_server.metrics import Metrics
from tests.stream_server.raw import Running, running, settings_for, stream_path

pytestmark = pytest.mark.asyncio


class Listener:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.times: list[float] = []
        self.ended: bool | None = None

    def offer(self, frame: Frame) -> None:
        self.versions.append(frame.version)
        self.times.append(asyncio.get_running_loop().time())

    def end(self, *, clean: bool) -> None:
        self.ended = clean


def hub_of(
    *, shared: dict[str, int] | None = None, min_interval: float = 0.0, max_events: int = 1000, lifetime: float = 30.0
) -> Hub:
    table = {} if shared is None else shared
    return Hub(
        newest=lambda key: table.get(key, 0),
        metrics=Metrics(),
        lifetime=lifetime,
        min_interval=min_interval,
        max_events=max_events,
    )


async def until_has(listener: Listener, version: int) -> None:
    async with asyncio.timeout(30):
        while version not in listener.versions:
            await asyncio.sleep(0.001)


async def test_change_is_offered_before_dispatch_returns() -> None:
    hub, listener = hub_of(), Listener()
    assert hub.subscribe("k", listener) is None
    assert hub.dispatch("k", 5)
    assert listener.versions == [5]


async def test_version_that_is_not_newer_is_nothing() -> None:
    hub, listener = hub_of(), Listener()
    hub.subscribe("k", listener)
    assert [hub.dispatch("k", version) for version in (5, 5, 4, 6)] == [True, False, False, True]
    assert listener.versions == [5, 6]


async def test_newcomer_is_given_the_newest_and_not_offered_it_again() -> None:
    hub, listener = hub_of(), Listener()
    hub.dispatch("k", 5)
    newest = hub.subscribe("k", listener)
    assert newest is not None
    assert newest.version == 5
    await asyncio.sleep(0)
    assert listener.versions == []


async def test_all_streams_of_an_environment_share_one_frame() -> None:
    frames: list[Frame] = []

    class Keeper(Listener):
        def offer(self, frame: Frame) -> None:
            frames.append(frame)

    hub = hub_of()
    for _ in range(3):
        hub.subscribe("k", Keeper())
    hub.dispatch("k", 5)
    newest = hub.subscribe("k", Listener())
    assert len(frames) == 3
    assert all(frame is newest for frame in frames)


async def test_version_that_another_worker_heard_first_reaches_old_streams_with_the_newcomer() -> None:
    shared = {"k": 5}
    hub, old, new = hub_of(shared=shared), Listener(), Listener()
    hub.subscribe("k", old)
    shared["k"] = 6
    newest = hub.subscribe("k", new)
    assert newest is not None
    assert newest.version == 6
    assert old.versions == [6]
    assert not hub.dispatch("k", 6)


async def test_burst_becomes_its_first_and_its_newest_min_interval_apart() -> None:
    hub, listener = hub_of(min_interval=0.1), Listener()
    hub.subscribe("k", listener)
    for version in range(1, 100):
        hub.dispatch("k", version)
    await until_has(listener, 99)
    assert listener.versions == [1, 99]
    assert listener.times[1] - listener.times[0] > 0.095


async def test_pace_of_one_environment_does_not_hold_another() -> None:
    hub, one, two = hub_of(min_interval=10), Listener(), Listener()
    hub.subscribe("one", one)
    hub.subscribe("two", two)
    hub.dispatch("one", 1)
    hub.dispatch("one", 2)
    hub.dispatch("two", 1)
    assert (one.versions, two.versions) == ([1], [1])


async def test_small_environment_does_not_wait_for_a_large_one() -> None:
    large = [Listener() for _ in range(SLICE * 20)]
    served_before: list[int] = []

    class Small(Listener):
        def offer(self, frame: Frame) -> None:
            super().offer(frame)
            served_before.append(sum(bool(listener.versions) for listener in large))

    hub, small = hub_of(), Small()
    for listener in large:
        hub.subscribe("large", listener)
    hub.subscribe("small", small)
    hub.dispatch("large", 1)
    hub.dispatch("small", 1)
    await until_has(large[-1], 1)
    assert served_before == [SLICE * 2]


async def test_thousand_small_environments_share_turns_and_none_of_them_is_slow_for_the_loop() -> None:
    hub, most, turns = hub_of(), 0, 0
    listeners = [[Listener() for _ in range(20)] for _ in range(SLICE)]
    for number, of_one in enumerate(listeners):
        for listener in of_one:
            hub.subscribe(f"key-{number}", listener)

    def told() -> int:
        return sum(bool(listener.versions) for of_one in listeners for listener in of_one)

    for number in range(SLICE):
        hub.dispatch(f"key-{number}", 1)
    before = told()
    assert before == SLICE, "one slice goes out without a turn of the loop, however many dispatches ask for it"
    while before < SLICE * 20:
        await asyncio.sleep(0)
        most, before, turns = max(most, told() - before), told(), turns + 1
    assert most == SLICE
    assert turns <= 20 + 2


async def test_stream_that_breaks_its_promise_not_to_raise_silences_no_other_environment() -> None:
    class BrokenError(Exception):
        pass

    class Broken(Listener):
        def offer(self, frame: Frame) -> None:
            raise BrokenError(frame)

    hub, listener, neighbour = hub_of(), Listener(), Listener()
    hub.subscribe("broken", Broken())
    hub.subscribe("broken", neighbour)
    hub.subscribe("k", listener)
    with pytest.raises(BrokenError):
        hub.dispatch("broken", 1)
    hub.dispatch("k", 1)
    hub.dispatch("k", 2)
    assert listener.versions == [1, 2]


async def test_version_that_comes_during_a_delivery_follows_it() -> None:
    hub = hub_of()
    listeners = [Listener() for _ in range(SLICE * 3)]
    for listener in listeners:
        hub.subscribe("k", listener)
    for version in (1, 2, 3):
        hub.dispatch("k", version)
    await until_has(listeners[-1], 3)
    assert {tuple(listener.versions) for listener in listeners} == {(1, 3)}


async def test_stream_gets_fewer_events_than_max_events_however_many_changes() -> None:
    lifetime, most = 1.0, 20
    hub, listener = hub_of(max_events=most, lifetime=lifetime), Listener()
    hub.subscribe("k", listener)
    loop = asyncio.get_running_loop()
    for version in range(1, most // 2):
        hub.dispatch("k", version)
    assert len(listener.versions) == most // 2 - 1, "the first half of them waits for nothing"
    ends = loop.time() + lifetime
    while loop.time() < ends or len(listener.versions) < most // 2:
        version += 1
        hub.dispatch("k", version)
        await asyncio.sleep(0.001)
    assert len(listener.versions) < most


async def test_pace_recovers_when_the_oldest_stream_has_ended() -> None:
    hub, old, young = hub_of(max_events=20, lifetime=0.2), Listener(), Listener()
    hub.subscribe("k", old)
    for version in range(1, 15):
        hub.dispatch("k", version)
    hub.subscribe("k", young)
    hub.unsubscribe("k", old)
    await until_has(young, 14)
    for version in range(20, 25):
        hub.dispatch("k", version)
    await until_has(young, 24)
    assert young.versions[-5:] == [20, 21, 22, 23, 24]


async def test_channel_of_an_unknown_key_goes_with_its_last_stream_and_that_of_a_known_one_stays() -> None:
    hub, one, two = hub_of(), Listener(), Listener()
    hub.subscribe("unknown", one)
    hub.subscribe("unknown", two)
    hub.unsubscribe("unknown", one)
    assert hub.count("unknown") == 1
    hub.unsubscribe("unknown", two)
    hub.unsubscribe("unknown", two)
    assert not hub._channels
    hub.dispatch("known", 1)
    hub.subscribe("known", one)
    hub.unsubscribe("known", one)
    assert hub.knows("known")
    assert hub.open == 0


async def test_streams_of_an_environment_can_share_the_string_of_its_key() -> None:
    hub = hub_of()
    first, second, unknown = (str(b"environment-key", "ascii") for _ in range(3))
    hub.subscribe(first, Listener())
    assert second is not first
    assert hub.canonical(second) is first
    assert hub.canonical(unknown + "?") == unknown + "?"


async def test_end_reaches_every_stream() -> None:
    hub = hub_of()
    listeners = [Listener() for _ in range(SLICE + 1)]
    for number, listener in enumerate(listeners):
        hub.subscribe(f"key-{number % 7}", listener)
    await hub.end_all(clean=True)
    assert all(listener.ended is True for listener in listeners)


async def test_killed_environment_is_told_nothing_and_its_newest_goes_to_every_stream_when_that_ends() -> None:
    hub, old, new, other = hub_of(), Listener(), Listener(), Listener()
    hub.dispatch("k", 1)
    hub.subscribe("k", old)
    hub.subscribe("other", other)
    hub.control(Controls(killed=frozenset({"k"})))
    assert hub.subscribe("k", new) is None, "the opening block carries no event either"
    for version in (2, 3):
        hub.dispatch("k", version)
        hub.dispatch("other", version)
    await asyncio.sleep(0.01)
    assert (old.versions, new.versions, other.versions) == ([], [], [2, 3])
    assert hub.knows("k")
    hub.control(Controls())
    assert (old.versions, new.versions) == ([3], [3])


async def test_what_was_held_back_by_a_kill_switch_does_not_wait_for_a_pace_as_well() -> None:
    hub, listener = hub_of(min_interval=10), Listener()
    hub.subscribe("k", listener)
    hub.control(Controls(killed=frozenset({"k"})))
    hub.dispatch("k", 1)
    hub.control(Controls())
    assert listener.versions == [1]


async def test_stream_that_came_while_its_environment_was_killed_is_told_what_was_known_all_along() -> None:
    hub, listener = hub_of(), Listener()
    hub.dispatch("k", 1)
    hub.control(Controls(killed=frozenset({"k"})))
    hub.subscribe("k", listener)
    hub.control(Controls())
    assert listener.versions == [1]


async def test_kill_switch_stops_a_delivery_that_is_under_way_and_its_end_completes_it() -> None:
    hub = hub_of()
    listeners = [Listener() for _ in range(SLICE * 4)]
    for listener in listeners:
        hub.subscribe("k", listener)
    hub.dispatch("k", 1)
    hub.control(Controls(killed=frozenset({"k"})))
    for _ in range(10):
        await asyncio.sleep(0)
    assert sum(bool(listener.versions) for listener in listeners) == SLICE
    hub.control(Controls())
    await until_has(listeners[-1], 1)
    assert all(listener.versions[-1] == 1 for listener in listeners)


async def test_kill_switch_that_flickers_during_a_delivery_loses_nothing() -> None:
    hub = hub_of()
    listeners = [Listener() for _ in range(SLICE * 3)]
    for listener in listeners:
        hub.subscribe("k", listener)
    hub.dispatch("k", 1)
    hub.control(Controls(killed=frozenset({"k"})))
    newcomer = Listener()
    assert hub.subscribe("k", newcomer) is None
    hub.control(Controls())
    await until_has(newcomer, 1)
    await until_has(listeners[-1], 1)


async def test_all_environments_are_killed_but_the_one_that_the_controls_are_flags_of() -> None:
    hub = hub_of()
    listeners = {key: Listener() for key in ("one", "two", "operations")}
    for key, listener in listeners.items():
        hub.subscribe(key, listener)
    hub.control(Controls(killed=frozenset({EVERYONE}), exempt="operations"))
    for key in listeners:
        hub.dispatch(key, 1)
    assert [listener.versions for listener in listeners.values()] == [[], [], [1]]


async def test_end_of_a_kill_switch_of_all_is_a_few_channels_a_turn_and_reaches_each() -> None:
    hub, count = hub_of(), TOUCHED * 3
    listeners = [Listener() for _ in range(count)]
    for number, listener in enumerate(listeners):
        hub.subscribe(f"key-{number}", listener)
    hub.control(Controls(killed=frozenset({EVERYONE})))
    for number in range(count):
        hub.dispatch(f"key-{number}", 1)
    hub.control(Controls())
    assert sum(bool(listener.versions) for listener in listeners) <= SLICE
    await until_has(listeners[-1], 1)
    async with asyncio.timeout(30):
        while not all(listener.versions == [1] for listener in listeners):
            await asyncio.sleep(0)


async def test_controls_that_change_while_the_last_ones_take_effect_win() -> None:
    hub, count = hub_of(), TOUCHED * 2
    listeners = [Listener() for _ in range(count)]
    for number, listener in enumerate(listeners):
        hub.subscribe(f"key-{number}", listener)
    everything = Controls(killed=frozenset({EVERYONE}))
    hub.control(everything)
    for number in range(count):
        hub.dispatch(f"key-{number}", 1)
    hub.control(Controls())
    hub.control(everything)
    told = sum(bool(listener.versions) for listener in listeners)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sum(bool(listener.versions) for listener in listeners) == told <= SLICE
    hub.control(Controls())
    async with asyncio.timeout(30):
        while not all(listener.versions[-1:] == [1] for listener in listeners):
            await asyncio.sleep(0)


async def test_brown_out_paces_its_environment_and_no_other() -> None:
    hub, slow, normal = hub_of(), Listener(), Listener()
    hub.subscribe("slow", slow)
    hub.subscribe("normal", normal)
    hub.control(Controls(intervals={"slow": 0.2}))
    for version in (1, 2, 3):
        hub.dispatch("slow", version)
        hub.dispatch("normal", version)
    assert (slow.versions, normal.versions) == ([1], [1, 2, 3])
    await until_has(slow, 3)
    assert slow.versions == [1, 3]
    assert slow.times[1] - slow.times[0] > 0.19


async def test_brown_out_never_makes_the_pace_faster() -> None:
    hub, listener = hub_of(min_interval=0.1), Listener()
    hub.subscribe("k", listener)
    hub.control(Controls(intervals={"k": 0.001}))
    hub.dispatch("k", 1)
    hub.dispatch("k", 2)
    await until_has(listener, 2)
    assert listener.times[1] - listener.times[0] > 0.095


async def test_brown_out_that_ends_does_not_hold_what_waited_for_it() -> None:
    hub, listener = hub_of(), Listener()
    hub.subscribe("k", listener)
    hub.control(Controls(intervals={EVERYONE: 3600}))
    hub.dispatch("k", 1)
    hub.dispatch("k", 2)
    assert listener.versions == [1]
    hub.control(Controls(intervals={EVERYONE: 3600, "k": 0}))
    assert listener.versions == [1, 2]


async def test_brown_out_that_begins_during_a_pace_lengthens_it() -> None:
    hub, listener = hub_of(min_interval=0.05), Listener()
    hub.subscribe("k", listener)
    hub.dispatch("k", 1)
    hub.control(Controls(intervals={"k": 0.3}))
    hub.dispatch("k", 2)
    await until_has(listener, 2)
    assert listener.times[1] - listener.times[0] > 0.29


class Told(Listener):
    """Knows what it was told at its opening and since, and whether that was while it had to be told nothing."""

    def __init__(self, key: str, killed: set[str]) -> None:
        super().__init__()
        self.key = key
        self.killed = killed
        self.newest = 0
        self.breaches = 0

    def offer(self, frame: Frame) -> None:
        self.newest = max(self.newest, frame.version)
        self.breaches += self.key in self.killed


@pytest.mark.parametrize("min_interval", [0.0, 0.002])
@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_in_whatever_order_every_stream_ends_at_the_newest(
    seed: int, min_interval: float
) -> None:
    choice = random.Random(seed)
    hub, keys, killed = hub_of(min_interval=min_interval), ["a", "b", "c", "large"], set[str]()
    newest = dict.fromkeys(keys, 0)
    streams: list[Told] = []

    def subscribe(key: str) -> None:
        stream = Told(key, killed)
        frame = hub.subscribe(key, stream)
        assert frame is None or key not in killed
        stream.newest = 0 if frame is None else frame.version
        streams.append(stream)

    def control() -> None:
        named = choice.sample([*keys, EVERYONE], choice.randint(0, 2))
        paces = dict.fromkeys(choice.sample([*keys, EVERYONE], choice.randint(0, 2)), choice.choice([0.001, 3600.0]))
        killed.clear()
        killed.update(keys if EVERYONE in named else named)
        hub.control(Controls(killed=frozenset(named), intervals=paces))

    for _ in range(SLICE * 2):
        subscribe("large")
    # Where changes are rare, none of them hides that an earlier one was lost.
    weights = [choice.choice([0.3, 6]), 3, 3, 1, 4, 0.3]
    for step in range(1, choice.choice([50, 300])):
        match choice.choices(["dispatch", "subscribe", "leave", "control", "turn", "wait"], weights)[0]:
            case "dispatch":
                key = choice.choice(keys)
                newest[key] = step
                hub.dispatch(key, step)
            case "subscribe":
                subscribe(choice.choice(keys))
            case "leave":
                stream = streams.pop(choice.randrange(len(streams)))
                hub.unsubscribe(stream.key, stream)
            case "control":
                control()
            case "turn":
                await asyncio.sleep(0)
            case "wait":
                await asyncio.sleep(0.003)
    killed.clear()
    hub.control(Controls())
    async with asyncio.timeout(30):
        while any(stream.newest != newest[stream.key] for stream in streams):
            await asyncio.sleep(0.001)
    assert not sum(stream.breaches for stream in streams)


async def opened(server: Running, key: str, count: int) -> list[socket.socket]:
    """Open real streams and read their openings; nothing reads them from then on."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()

    async def one() -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, f"GET {stream_path(key)} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        received = b""
        while not received.endswith(b"retry: 2000\n\n\r\n"):
            received += await loop.sock_recv(client, 4096)
        return client

    return list(await asyncio.gather(*(one() for _ in range(count))))


def readable(clients: Iterable[socket.socket]) -> int:
    """Count the clients that have something to read."""
    poll = select.poll()
    for client in clients:
        poll.register(client, select.POLLIN)
    return len(poll.poll(0))


async def test_real_streams_of_a_small_environment_are_told_between_slices_of_a_large_one() -> None:
    async with running(settings_for(heartbeat=60)) as server:
        large = await opened(server, "large", SLICE * 6)
        small = await opened(server, "small", 20)
        try:
            server.parts.hub.dispatch("large", 1)
            server.parts.hub.dispatch("small", 1)
            async with asyncio.timeout(30):
                while readable(small) < len(small):
                    await asyncio.sleep(0)
            assert SLICE <= readable(large) <= SLICE * 4
            async with asyncio.timeout(30):
                while readable(large) < len(large):
                    await asyncio.sleep(0)
        finally:
            for client in (*large, *small):
                client.close()
