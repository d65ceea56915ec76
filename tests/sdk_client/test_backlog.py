from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sdk_client import Change, Flag
from sdk_client.backlog import Backlog

LIMIT = 3


def change(feature: str, version: int) -> Change:
    return Change(feature, Flag(feature, True, version - 1), Flag(feature, True, version), version)


def read(backlog: Backlog) -> list[Change]:
    changes = []
    while (each := backlog.pop()) is not None:
        changes.append(each)
    return changes


@given(st.lists(st.one_of(st.sampled_from("abcdef"), st.none()), max_size=30))
def test_a_reader_at_any_pace_never_misses_where_a_feature_ended_up(steps: Sequence[str | None]) -> None:
    backlog = Backlog(LIMIT)
    state = dict.fromkeys("abcdef", 0)
    seen = dict(state)

    def take(change: Change) -> None:
        assert change.old_value == seen[change.feature], "it goes on where it was read last"
        seen[change.feature] = change.value

    for feature in steps:
        if feature is None:
            if (unread := backlog.pop()) is not None:
                take(unread)
        else:
            old, state[feature] = state[feature], state[feature] + 1
            backlog.put([Change(feature, Flag(feature, True, old), Flag(feature, True, old + 1), 1)])
    rest = read(backlog)
    for each in rest:
        take(each)
    assert seen == state
    assert len(rest) <= max(LIMIT, len(state))


def test_up_to_its_limit_it_keeps_every_step_and_beyond_it_one_change_a_feature() -> None:
    backlog = Backlog(LIMIT)
    backlog.put([change("a", 1), change("a", 2), change("a", 3)])
    assert [each.value for each in read(backlog)] == [1, 2, 3]
    backlog.put([change("a", 1), change("b", 2), change("a", 3), change("a", 4)])
    merged = read(backlog)
    assert [(each.feature, each.old_value, each.value) for each in merged] == [("a", 0, 4), ("b", 1, 2)]
    backlog.put([change("a", 5), change("a", 6)])
    assert [each.value for each in read(backlog)] == [5, 6], "once read, nothing is merged any more"
    backlog.put([change("a", 7)])
    backlog.clear()
    assert backlog.pop() is None


def test_after_its_end_nothing_is_added_and_the_first_end_counts() -> None:
    backlog, fault = Backlog(LIMIT), ValueError()
    backlog.put([change("a", 1)])
    backlog.end(fault)
    backlog.end()
    backlog.put([change("a", 2)])
    assert [each.value for each in read(backlog)] == [1]
    assert backlog.has_ended
    assert backlog.fault is fault
