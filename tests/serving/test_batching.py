"""The batching policy, with a clock that we turn by hand."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chiasm.serving.batching import Batch, BatchingConfig, BatchQueue, Work

CONFIG = BatchingConfig(max_queue_cost=10.0, max_batch_cost=4.0, max_wait=1.0)


def work(
    name: str,
    *,
    at: float = 0.0,
    bucket: str = "image",
    cost: float = 1.0,
    deadline: float | None = None,
    group: str | None = None,
) -> Work[str]:
    return Work(group=group or name, bucket=bucket, cost=cost, arrival=at, deadline=deadline, payload=name)


def names(batch: Batch[str]) -> list[str]:
    return [w.payload for w in batch.works]


def queue_of(*works: Work[str], config: BatchingConfig = CONFIG) -> BatchQueue[str]:
    queue: BatchQueue[str] = BatchQueue(config)
    for w in works:
        assert queue.admit([w])
    return queue


def test_a_lonely_item_waits_for_company_but_not_longer() -> None:
    queue = queue_of(work("a"))
    assert names(queue.take(0.5)) == []
    assert queue.wait(0.5) == pytest.approx(0.5)
    assert names(queue.take(1.0)) == ["a"]
    assert queue.wait(1.0) is None


def test_a_full_batch_does_not_wait() -> None:
    queue = queue_of(*(work(n) for n in "abcde"))
    assert queue.wait(0.0) == 0.0
    assert names(queue.take(0.0)) == ["a", "b", "c", "d"]
    assert names(queue.take(0.0)) == []


def test_hurry_takes_what_there_is() -> None:
    assert names(queue_of(work("a")).take(0.0, hurry=True)) == ["a"]


def test_kinds_are_not_mixed_and_the_longest_wait_goes_first() -> None:
    queue = queue_of(work("t1", at=0.1, bucket="text"), work("i1", at=0.2), work("t2", at=0.3, bucket="text"))
    assert names(queue.take(5.0)) == ["t1", "t2"]
    assert names(queue.take(5.0)) == ["i1"]


def test_cost_not_count_fills_a_batch() -> None:
    queue = queue_of(work("a", cost=3.0), work("b", cost=2.0), work("c", cost=0.5))
    assert names(queue.take(5.0)) == ["a"]
    assert names(queue.take(5.0)) == ["b", "c"]


def test_an_item_dearer_than_a_batch_goes_alone() -> None:
    queue = queue_of(work("dear", cost=9.0), work("b"))
    assert names(queue.take(5.0)) == ["dear"]


def test_a_full_queue_refuses_a_call_as_a_whole() -> None:
    queue = queue_of(work("a", cost=8.0))
    assert not queue.admit([work("b", cost=1.0), work("c", cost=2.0)])
    assert len(queue) == 1
    assert queue.admit([work("d", cost=2.0)])


def test_an_empty_queue_takes_a_call_larger_than_itself() -> None:
    assert BatchQueue[str](CONFIG).admit([work("a", cost=99.0)])


def test_what_is_too_late_is_dropped_not_computed() -> None:
    queue = queue_of(work("late", deadline=2.0), work("b", deadline=9.0))
    assert queue.wait(0.5) == pytest.approx(0.5)
    batch = queue.take(2.0)
    assert [w.payload for w in batch.expired] == ["late"]
    assert names(batch) == ["b"]
    assert queue.cost == 0


def test_a_deadline_before_the_wait_is_over_wakes_the_owner() -> None:
    assert queue_of(work("a", deadline=0.25)).wait(0.0) == pytest.approx(0.25)


def test_cancelling_a_call_removes_all_its_items_and_frees_their_cost() -> None:
    queue = queue_of(work("a", group="x"), work("b", group="y"), work("c", group="x", bucket="text"))
    assert [w.payload for w in queue.cancel("x")] == ["a", "c"]
    assert queue.cancel("x") == ()
    assert queue.cost == 1.0
    assert names(queue.take(5.0)) == ["b"]


def test_retry_after_follows_the_measured_speed() -> None:
    fast, slow = queue_of(work("a", cost=9.0)), queue_of(work("a", cost=9.0))
    for _ in range(20):
        fast.observe(cost=4.0, seconds=0.01)
        slow.observe(cost=4.0, seconds=4.0)
    assert fast.retry_after() == pytest.approx(0.1)
    assert slow.retry_after() == pytest.approx(4.5, rel=0.2)


@dataclass
class Simulation:
    """A device that serves a queue; remembers what happened to each piece of work."""

    queue: BatchQueue[str]
    now: float = 0.0
    fates: Counter[str] = field(default_factory=Counter)
    waited: dict[str, float] = field(default_factory=dict)
    batches: list[Batch[str]] = field(default_factory=list)

    def step(self, *, hurry: bool = False) -> bool:
        batch = self.queue.take(self.now, hurry=hurry)
        for dropped in batch.expired:
            assert dropped.deadline is not None
            assert dropped.deadline <= self.now
            self.fates[dropped.payload] += 1
        for done in batch.works:
            assert done.deadline is None or done.deadline > self.now
            self.fates[done.payload] += 1
            self.waited[done.payload] = self.now - done.arrival
        if batch.works:
            self.batches.append(batch)
            self.now += 0.1 + 0.1 * batch.cost
        return bool(batch.works)


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("call"),
            st.lists(
                st.tuples(
                    st.sampled_from(["text", "image", "audio"]),
                    st.floats(0.01, 6.0),
                    st.none() | st.floats(0.1, 5.0),
                ),
                min_size=1,
                max_size=5,
            ),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("pass"), st.floats(0.0, 2.0)),
        st.tuples(st.just("step"), st.none()),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
def test_whatever_happens_the_invariants_hold(events: list[tuple[str, object]]) -> None:
    sim = Simulation(BatchQueue(CONFIG))
    admitted: dict[str, Work[str]] = {}
    for number, (what, value) in enumerate(events):
        if what == "call":
            assert isinstance(value, list)
            works = [
                work(
                    f"{number}.{i}",
                    at=sim.now,
                    bucket=bucket,
                    cost=cost,
                    group=str(number),
                    deadline=None if within is None else sim.now + within,
                )
                for i, (bucket, cost, within) in enumerate(value)
            ]
            before = sim.queue.cost
            if sim.queue.admit(works):
                admitted |= {w.payload: w for w in works}
                assert len(works) == len(sim.queue) or sim.queue.cost <= CONFIG.max_queue_cost
            else:
                assert sim.queue.cost == before
        elif what == "cancel":
            sim.fates.update(w.payload for w in sim.queue.cancel(str(value)))
        elif what == "pass":
            assert isinstance(value, float)
            sim.now += value
        else:
            sim.step()
    while (wait := sim.queue.wait(sim.now)) is not None:  # an endless loop here would be starvation
        sim.now += wait
        sim.step()
    assert len(sim.queue) == 0
    assert sim.queue.cost == 0
    assert sim.fates == Counter(admitted.keys())  # nothing lost, nothing twice
    for batch in sim.batches:
        assert len({w.bucket for w in batch.works}) == 1
        assert batch.cost <= CONFIG.max_batch_cost + 1e-9 or len(batch.works) == 1
    for bucket in ("text", "image", "audio"):  # first in, first out within a kind
        order = [w.payload for batch in sim.batches for w in batch.works if w.bucket == bucket]
        assert order == [name for name in admitted if name in order]


def test_a_rare_kind_is_served_under_a_flood_of_another() -> None:
    sim = Simulation(BatchQueue(BatchingConfig(max_queue_cost=40.0, max_batch_cost=4.0, max_wait=0.01)))
    for number in range(100):
        if number == 20:
            assert sim.queue.admit([work("rare", bucket="audio", at=sim.now)])
        while sim.queue.admit([work(f"flood {number}", at=sim.now)]) and sim.queue.cost < 38:
            pass
        sim.step(hurry=True)
    # Only what was queued before it is served first: one queue's worth.
    assert 0 < sim.waited["rare"] <= 0.5 * 40.0 / 4.0


def fair(name: str, caller: str, **kwargs: object) -> Work[str]:
    return replace(work(name, **kwargs), caller=caller)  # type: ignore[arg-type]


def test_who_floods_waits_behind_their_own_work_only() -> None:
    queue = queue_of(
        *(fair(f"flood {n}", "a") for n in range(8)),
        fair("light", "b"),
        config=replace(CONFIG, max_queue_cost=99),
    )
    assert names(queue.take(5.0)) == ["flood 0", "light", "flood 1", "flood 2"]


def test_shares_are_of_cost_not_of_pieces() -> None:
    queue = queue_of(
        *(fair(f"dear {n}", "a", cost=2.0) for n in range(3)),
        *(fair(f"cheap {n}", "b", cost=0.5) for n in range(12)),
        config=replace(CONFIG, max_queue_cost=99),
    )
    taken = [w for _ in range(2) for w in queue.take(5.0).works]
    spent = {c: sum(w.cost for w in taken if w.caller == c) for c in "ab"}
    assert spent == {"a": pytest.approx(4.0), "b": pytest.approx(3.5, abs=0.51)}


def test_a_caller_who_rested_gets_no_more_than_a_fair_share_of_what_follows() -> None:
    config = replace(CONFIG, max_queue_cost=999, max_batch_cost=1.0)
    queue = queue_of(*(fair(f"a{n}", "a") for n in range(30)), config=config)
    for _ in range(20):
        queue.take(5.0)
    for n in range(10):
        assert queue.admit([fair(f"b{n}", "b")])
    order = [name[0] for _ in range(10) for name in names(queue.take(5.0))]
    assert order.count("a") == order.count("b") == 5


def test_what_was_cancelled_is_not_paid_for() -> None:
    config = replace(CONFIG, max_queue_cost=99, max_batch_cost=1.0)
    queue = queue_of(
        *(fair(f"gone {n}", "a", group="gone") for n in range(9)), fair("b0", "b"), config=config
    )
    queue.cancel("gone")
    assert queue.admit([fair("a0", "a"), fair("b1", "b")])
    assert [names(queue.take(5.0)) for _ in range(3)] == [["b0"], ["a0"], ["b1"]]


def test_one_caller_fills_only_a_share_of_the_queue() -> None:
    queue: BatchQueue[str] = BatchQueue(replace(CONFIG, caller_share=0.5))
    assert not queue.overfills("a", 9.0), "who has nothing here may bring one call of any size"
    assert queue.admit([fair("a0", "a", cost=4.0), fair("b0", "b", cost=4.0)])
    assert not queue.overfills("a", 1.0)
    assert queue.overfills("a", 1.1)
    assert not queue.overfills("c", 2.0)
    assert queue.admit([work("nameless", cost=2.0)])
    assert not queue.overfills("", 9.0), "the server's own work has no share to fill"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 2.0)), min_size=1, max_size=60))
def test_backlogged_callers_never_differ_by_more_than_a_batch_and_a_piece(
    pieces: list[tuple[str, float]],
) -> None:
    queue: BatchQueue[str] = BatchQueue(BatchingConfig(max_queue_cost=999.0, max_batch_cost=4.0))
    for number, (caller, cost) in enumerate(pieces):
        assert queue.admit([fair(str(number), caller, cost=cost)])
    left = Counter(caller for caller, _ in pieces)
    spent: Counter[str] = Counter()
    while left.total():
        backlogged = {caller for caller in "abc" if left[caller]}
        for w in queue.take(5.0).works:
            left[w.caller] -= 1
            spent[w.caller] += w.cost  # type: ignore[assignment]
        still = {caller for caller in backlogged if left[caller]}
        if len(still) > 1:
            shares = [spent[caller] for caller in still]
            assert max(shares) - min(shares) <= 4.0 + 2.0 + 1e-9
