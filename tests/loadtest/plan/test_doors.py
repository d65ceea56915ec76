from __future__ import annotations

import numpy as np

from loadtest.plan.doors import Doors


def one_by_one(door: list[int], at: list[float], service: float, doors: int) -> list[float]:
    free = [0.0] * doors
    answered = []
    for number, moment in zip(door, at, strict=True):
        free[number] = max(free[number], moment) + service
        answered.append(free[number])
    return answered


def test_queues_answer_as_if_each_request_were_served_one_by_one() -> None:
    chance = np.random.default_rng(1)
    at = np.sort(chance.random(5_000) * 2)
    door = chance.integers(7, size=5_000)
    doors = Doors(7, 0.002, 100_000)
    halves = [doors.admit(door[part], at[part]) for part in (slice(0, 1_700), slice(1_700, None))]
    expected = one_by_one(door.tolist(), at.tolist(), 0.002, 7)
    np.testing.assert_allclose(np.concatenate(halves), expected, atol=1e-6)


def test_a_burst_is_worked_off_at_the_rate_that_the_cpu_gives() -> None:
    answered = Doors(1, 68e-6, 20_000).admit(np.zeros(15_000, dtype=np.intp), np.zeros(15_000))
    assert answered.max() == np.float64(15_000 * 68e-6)


def test_who_finds_a_queue_full_is_not_let_in() -> None:
    answered = Doors(1, 0.001, 100).admit(np.zeros(500, dtype=np.intp), np.zeros(500))
    assert np.isfinite(answered).sum() == 101
    assert np.isfinite(answered[:101]).all()


def test_before_a_shut_door_as_many_wait_as_its_queue_holds_and_are_served_when_it_opens() -> None:
    doors = Doors(2, 0.001, 100)
    doors.shut(np.array([1]), 5.0)
    answered = doors.admit(np.ones(300, dtype=np.intp), np.linspace(0, 1, 300))
    let = answered[np.isfinite(answered)]
    assert len(let) == 101
    assert let.min() >= 5.0
    assert np.isinf(doors.admit(np.array([1]), np.array([2.0])))
    assert doors.admit(np.array([0]), np.array([2.0]))[0] == np.float64(2.001)
    assert np.isfinite(doors.admit(np.array([1]), np.array([6.0])))
