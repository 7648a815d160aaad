"""Seats and places without a server: every step is one turn of the event loop."""

import asyncio

from chiasm.api import waiting
from chiasm.api.waiting import Callers, WaitingRoom


def run(scenario):
    asyncio.run(scenario())


def enter(room, caller, patience=60.0):
    return asyncio.create_task(room.enter(caller, patience))


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


def test_seats_are_taken_at_once_and_handed_on_in_order():
    async def scenario():
        room = WaitingRoom(1, 10)
        assert await room.enter("a", 60.0)
        tasks = [enter(room, "a") for _ in range(2)]
        await settle()
        assert [task.done() for task in tasks] == [False, False]
        room.leave()
        await settle()
        assert [task.done() for task in tasks] == [True, False]
        room.leave()
        assert await tasks[1] is True
        room.leave()
        assert await room.enter("a", 60.0), "the seat is free again"

    run(scenario)


def test_callers_take_turns_whatever_each_has_waiting():
    async def scenario():
        room, order = WaitingRoom(1, 20), []
        await room.enter("heavy", 60.0)

        async def work(caller):
            await room.enter(caller, 60.0)
            order.append(caller)
            room.leave()

        tasks = [asyncio.create_task(work(caller)) for caller in ["heavy"] * 4 + ["light"] * 2]
        await settle()
        room.leave()
        await asyncio.gather(*tasks)
        assert order == ["heavy", "light", "heavy", "light", "heavy", "heavy"]

    run(scenario)


def test_nobody_takes_more_places_than_it_leaves_free():
    async def scenario():
        room = WaitingRoom(1, 8)
        await room.enter("a", 60.0)
        waiting = [enter(room, "a") for _ in range(4)]
        await settle()
        assert not room.has_room("a")
        assert await room.enter("a", 60.0) is False
        waiting += [enter(room, "b") for _ in range(2)]
        await settle()
        assert not room.has_room("b"), "two places are free, and it has two"
        assert room.has_room("c")
        for _ in waiting:
            room.leave()
        assert all(await asyncio.gather(*waiting))

    run(scenario)


def test_who_waits_too_long_or_is_gone_leaves_nothing_behind():
    async def scenario():
        room = WaitingRoom(1, 4)
        await room.enter("a", 60.0)
        assert await room.enter("a", 0.001) is False
        gone = enter(room, "a")
        await settle()
        gone.cancel()
        await settle()
        assert gone.cancelled()
        last = enter(room, "b")
        await settle()
        room.leave()
        assert await last is True
        room.leave()
        assert await room.enter("a", 0.001) is True

    run(scenario)


def test_a_seat_that_comes_to_one_who_is_just_leaving_goes_to_the_next():
    async def scenario():
        room = WaitingRoom(1, 4)
        await room.enter("a", 60.0)
        leaving, last = enter(room, "a"), enter(room, "b")
        await settle()
        room.leave()  # to the first, who is cancelled before it wakes
        leaving.cancel()
        await settle()
        assert leaving.cancelled()
        assert await last is True

    run(scenario)


def test_without_places_only_seats_count():
    async def scenario():
        room = WaitingRoom(1, 0)
        assert await room.enter("a", 60.0)
        assert await room.enter("b", 60.0) is False

    run(scenario)


def test_callers_are_known_by_what_was_learned_of_the_last_of_them(monkeypatch):
    monkeypatch.setattr(waiting, "REMEMBERED", 2)
    callers = Callers()
    shown = [{"authorization": f"Bearer {number}"} for number in range(3)]
    assert callers.of(shown[0]) == ""
    for number, headers in enumerate(shown):
        callers.learn(headers, f"key-{number}")
    assert [callers.of(headers) for headers in shown] == ["", "key-1", "key-2"]
    callers.learn(shown[1], None)
    assert callers.of(shown[1]) == "", "revoked"
