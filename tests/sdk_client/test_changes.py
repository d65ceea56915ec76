from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_client import Change, Changes, Flag
from sdk_client.changes import difference


def flag(name: str, value: object = None, *, enabled: bool = True) -> Flag:
    return Flag(name, enabled, value)


def change(name: str, old: object, new: object) -> Change:
    return Change(name, flag(name, old), flag(name, new), 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [("a", "b"), (1, "1"), (1, True), (1, 1.0), (0, False), (None, ""), ({"a": 1}, {"a": True}), ([1], [1, 2])],
)
def test_a_value_that_became_another_or_another_type_has_changed(old: object, new: object) -> None:
    assert difference({"f": flag("f", old)}, {"f": flag("f", new)}, 7) == [
        Change("f", flag("f", old), flag("f", new), 7)
    ]


def test_what_stayed_is_no_change() -> None:
    flags = {"f": flag("f", {"a": [1, None]}), "g": flag("g", enabled=False)}
    assert difference(flags, dict(flags), 7) == []
    assert difference(flags, {"g": flag("g", enabled=False), "f": flag("f", {"a": [1, None]})}, 7) == []


STATES = st.dictionaries(
    st.sampled_from("abcd"), st.tuples(st.booleans(), st.sampled_from([None, 1, True, "x", 1.0])), max_size=4
)


def flags_of(state: dict[str, tuple[bool, object]]) -> dict[str, Flag]:
    return {name: Flag(name, enabled, value) for name, (enabled, value) in state.items()}


@given(old=STATES, new=STATES)
def test_the_changes_applied_to_the_old_flags_give_the_new_ones(
    old: dict[str, tuple[bool, object]], new: dict[str, tuple[bool, object]]
) -> None:
    before, after = flags_of(old), flags_of(new)
    result = dict(before)
    for each in difference(before, after, 1):
        assert each.old == before.get(each.feature)
        if each.new is None:
            del result[each.feature]
        else:
            result[each.feature] = each.new
    assert {name: repr(each) for name, each in result.items()} == {name: repr(each) for name, each in after.items()}


def test_a_change_reads_the_same_for_features_that_come_and_go() -> None:
    came = Change("f", None, flag("f", "a"), 1)
    gone = Change("f", flag("f", "a"), None, 1)
    assert (came.old_enabled, came.enabled, came.old_value, came.value) == (False, True, None, "a")
    assert (gone.old_enabled, gone.enabled, gone.old_value, gone.value) == (True, False, "a", None)


@pytest.mark.asyncio
async def test_a_reader_that_keeps_up_to_the_limit_gets_every_step() -> None:
    changes = Changes(limit=5)
    steps = [change("f", step, step + 1) for step in range(5)]
    changes.put(steps)
    changes.close()
    assert [each async for each in changes] == steps


@pytest.mark.asyncio
async def test_a_reader_too_far_behind_gets_one_change_a_feature_from_its_oldest_to_its_newest_state() -> None:
    changes = Changes(limit=5)
    for step in range(1000):
        changes.put([change("f", step, step + 1), change("g", -step, -step - 1)])
    changes.close()
    merged = [each async for each in changes]
    assert [(each.feature, each.old_value, each.value) for each in merged] == [("f", 0, 1000), ("g", 0, -1000)]


@pytest.mark.asyncio
async def test_a_reader_that_caught_up_gets_every_step_again() -> None:
    changes = Changes(limit=1)
    changes.put([change("f", 0, 1), change("f", 1, 2), change("f", 2, 3)])
    assert (await anext(changes)).value == 3
    changes.put([change("f", 3, 4)])
    assert (await anext(changes)).value == 4


@pytest.mark.asyncio
async def test_a_reader_waits_for_the_next_change_and_for_the_end() -> None:
    changes = Changes()
    reading = asyncio.ensure_future(anext(changes, None))
    await asyncio.sleep(0)
    changes.put([change("f", 0, 1)])
    assert await reading == change("f", 0, 1)
    ending = asyncio.ensure_future(anext(changes, None))
    await asyncio.sleep(0)
    changes.close()
    assert await ending is None
    changes.put([change("f", 1, 2)])
    assert [each async for each in changes] == []


@pytest.mark.asyncio
async def test_a_cancelled_subscription_drops_what_is_unread() -> None:
    changes = Changes()
    changes.put([change("f", 0, 1)])
    changes.cancel()
    assert [each async for each in changes] == []
