from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sdk_client import Change, Changes, Flag
from sdk_client.backlog import Backlog

LIMIT = 3


def change(feature: str, version: int) -> Change:
    return Change(feature, Flag(feature, True, version - 1), Flag(feature, True, version), version)


def read(backlog: Backlog) -> list[Change]:
    changes = []
    while (each := backlog.pop()) is not None:
        changes.append(each)
    return changes


@given(st.lists(st.sampled_from("abcdef"), max_size=20))
def test_both_clients_merge_what_is_not_read_in_the_same_way(features: Sequence[str]) -> None:
    changes = [change(feature, version) for version, feature in enumerate(features)]
    blocking, other = Backlog(LIMIT), Changes(LIMIT)
    blocking.put(changes)
    other.put(changes)
    other.close()

    async def read_other() -> list[Change]:
        return [each async for each in other]

    assert read(blocking) == asyncio.run(read_other())


def test_beyond_its_limit_it_holds_one_change_a_feature_from_the_oldest_unread_state_to_the_newest() -> None:
    backlog = Backlog(LIMIT)
    backlog.put([change("a", 1), change("b", 2), change("a", 3), change("a", 4)])
    merged = read(backlog)
    assert [(each.feature, each.old_value, each.value) for each in merged] == [("a", 0, 4), ("b", 1, 2)]
    backlog.put([change("a", 5), change("a", 6)])
    assert [each.value for each in read(backlog)] == [5, 6], "once read, nothing is merged any more"
    backlog.put([change("a", 7)])
    backlog.clear()
    assert backlog.pop() is None
