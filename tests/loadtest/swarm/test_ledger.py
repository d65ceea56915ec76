"""Who is behind, by the books of a generator, held to a slow and plain reckoning of the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from loadtest.swarm.ledger import Cell, Ledger


@dataclass
class Plain:
    """Every client by itself."""

    held: dict[int, int] = field(default_factory=dict)
    published: set[int] = field(default_factory=set)
    behind_for: int = 0

    @property
    def behind(self) -> int:
        newest = max(self.published, default=0)
        return sum(1 for version in self.held.values() if version not in {0, newest}) if newest else 0

    @property
    def new(self) -> int:
        return sum(1 for version in self.held.values() if not version) if any(self.published) else 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 30)),
        st.tuples(st.just("take"), st.integers(0, 5), st.integers(1, 30)),
        st.tuples(st.just("come"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(steps)
def test_the_count_of_clients_that_are_behind_and_for_how_long_is_that_of_looking_at_each(
    steps: list[tuple[str, int] | tuple[str, int, int]],
) -> None:
    ledger = Ledger()
    cells = [Cell(ledger), Cell(ledger)]
    plain = Plain()
    for now, step in enumerate(steps, 100):
        ledger.began = now  # no version is from before it is told of
        match step:
            case ("publish", version):
                ledger.learn(version)
                plain.published.add(version)
            case ("come", client) if client not in plain.held:
                plain.held[client] = 0
                cells[client % 2].comes()
            case ("leave", client) if client in plain.held:
                cells[client % 2].leaves(plain.held.pop(client), now)
            case ("take", client, version) if version > plain.held.get(client, version):
                if version > ledger.newest:
                    ledger.learn(version)
                plain.published.add(version)
                cells[client % 2].holds(version, plain.held[client], now)
                plain.held[client] = version
        assert (sum(cell.behind for cell in cells), sum(cell.new for cell in cells)) == (plain.behind, plain.new)
        plain.behind_for += plain.behind
        assert sum(cell.behind_for(now + 1) for cell in cells) == plain.behind_for


@given(st.sets(st.integers(1, 60), min_size=1), st.data())
def test_what_was_missed_first_and_how_much_was_skipped_follow_from_the_versions(
    versions: set[int], data: st.DataObject
) -> None:
    ledger = Ledger()
    for version in data.draw(st.permutations(sorted(versions))):
        ledger.learn(version)
    version = data.draw(st.sampled_from(sorted(versions)))
    held = data.draw(st.integers(0, version - 1))
    between = sorted(each for each in versions if held < each <= version)
    assert ledger.missed(held, version) == (between[0], len(between) - 1)


def test_a_version_that_is_told_of_after_a_newer_one_is_not_taken_for_that_one() -> None:
    ledger = Ledger()
    ledger.learn(10)
    ledger.learn(30)
    assert ledger.missed(10, 20) == (20, 0)


def test_nobody_is_lost_before_the_turn_to_begin_has_come() -> None:
    ledger = Ledger()
    cell = Cell(ledger)
    for when in (1.0, 2.0, 3.0):
        cell.comes()
        cell.begins(when)
    assert cell.lost(3.0) == 0, "nothing was published"
    ledger.learn(7)
    assert [cell.lost(now) for now in (0.5, 1.0, 2.5, 3.0)] == [0, 1, 2, 3]
    cell.holds(7, 0, 10)
    assert [cell.lost(now) for now in (1.0, 3.0)] == [0, 2]
    ledger.learn(9)
    assert cell.lost(3.0) == 3
