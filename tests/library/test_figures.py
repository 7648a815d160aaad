"""How large the library is: asked often, counted seldom."""

import threading

import pytest

from chiasm.library.figures import OTHER, Remembered, fewer_stores
from chiasm.stores.census import Held


class Count:
    """Counts how often it was asked; may be held back, and may fail."""

    def __init__(self) -> None:
        self.times = 0
        self.done = threading.Event()
        self.failing = False

    def __call__(self) -> int:
        self.times += 1
        self.done.set()
        if self.failing:
            raise RuntimeError("no disk")
        return self.times


@pytest.fixture
def count() -> Count:
    return Count()


def until_renewed(remembered: Remembered[int], value: int) -> None:
    for _ in range(1000):
        if remembered.get() == value:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"expected {value}")


def test_what_is_fresh_is_not_counted_again(count: Count):
    now = [0.0]
    remembered = Remembered(count, 10.0, clock=lambda: now[0])
    assert [remembered.get() for _ in range(5)] == [1] * 5
    now[0] = 9.9
    assert remembered.get() == 1
    assert count.times == 1


def test_what_is_old_is_given_once_more_and_renewed_meanwhile(count: Count):
    now = [0.0]
    remembered = Remembered(count, 10.0, clock=lambda: now[0])
    remembered.get()
    now[0] = 10.0
    assert remembered.get() == 1
    until_renewed(remembered, 2)
    assert count.times == 2


def test_a_failure_leaves_the_old_answer_and_the_next_one_tries_again(count: Count):
    now = [0.0]
    remembered = Remembered(count, 10.0, clock=lambda: now[0])
    remembered.get()
    count.failing = True
    count.done.clear()
    now[0] = 10.0
    assert remembered.get() == 1
    assert count.done.wait(10)
    count.failing = False
    until_renewed(remembered, count.times + 1)


def test_small_stores_are_one_beyond_a_number():
    held = [
        Held("a", "text", 5),
        Held("a", "image", 1),
        Held("b", "text", 3),
        Held("c", "text", 2),
        Held("d", "text", 1),
    ]
    assert fewer_stores(held, most=4) == sorted(held)
    assert fewer_stores(held, most=1) == [Held("a", "image", 1), Held("a", "text", 5), Held(OTHER, "text", 6)]
