"""Time and room are bounded."""

import base64
import itertools
import json
import os
import threading
from dataclasses import replace

import pytest
from api_fakes import ColourModel, context_of, picture, settings_for

from chiasm.api import create_app
from chiasm.api.bodies import MAX_VALUES, parse_json
from chiasm.api.context import EXTENSION
from chiasm.api.pool import DecodePool
from chiasm.api.uploads import sweep
from chiasm.errors import DeadlineExceeded, InvalidInput, Overloaded, TooLarge


def test_a_request_that_takes_too_long_is_504(tmp_path):
    context, library = context_of(settings_for(tmp_path / "data"), ColourModel())
    hours = itertools.count(step=3600.0)
    client = create_app(replace(context, clock=lambda: next(hours))).test_client()
    for body in ({"input": "red"}, {"input": {"image": base64.b64encode(picture("red")).decode()}}):
        response = client.post("/v1/embeddings", json=body)
        assert response.status_code == 504
        assert response.json["error"]["code"] == "deadline_exceeded"
    library.close()


def test_the_pool_keeps_the_order_and_passes_errors_on():
    pool = DecodePool(2, max_requests=4)
    assert pool.map(lambda n: n * n, list(range(6)), seconds=30) == [0, 1, 4, 9, 16, 25]

    def refuse(_: int) -> None:
        raise InvalidInput("expected more", "应更多", param="input[0]")

    with pytest.raises(InvalidInput):
        pool.map(refuse, [1], seconds=30)
    assert pool.map(str, [1], seconds=30) == ["1"]
    pool.close()


def test_a_full_pool_refuses_and_a_slow_one_gives_up():
    pool = DecodePool(1, max_requests=1)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        begun.set()
        go_on.wait(30)

    first = threading.Thread(target=pool.map, args=(slow, [1]), kwargs={"seconds": 30})
    first.start()
    assert begun.wait(30)
    with pytest.raises(Overloaded):
        pool.map(str, [1], seconds=30)
    go_on.set()
    first.join()

    go_on.clear()
    with pytest.raises(DeadlineExceeded):
        pool.map(slow, [1], seconds=0.01)
    go_on.set()
    pool.close()


def test_a_request_of_many_slow_pieces_does_not_hold_up_its_neighbours():
    pool = DecodePool(2, max_requests=4, share=1)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        begun.set()
        go_on.wait(30)

    many = threading.Thread(target=pool.map, args=(slow, range(50)), kwargs={"seconds": 30})
    many.start()
    assert begun.wait(30)
    assert pool.map(str, [1, 2, 3], seconds=30) == ["1", "2", "3"], "one thread is left to others"
    go_on.set()
    many.join()
    pool.close()


def test_requests_take_turns_in_one_thread():
    pool = DecodePool(1, max_requests=4)
    order: list[str] = []
    begun, both_wait = threading.Event(), threading.Event()

    def note(name: str) -> None:
        begun.set()
        both_wait.wait(30)
        order.append(name)

    first = threading.Thread(target=pool.map, args=(note, ["a"] * 6), kwargs={"seconds": 30})
    first.start()
    assert begun.wait(30)
    second = threading.Thread(target=pool.map, args=(note, ["b"] * 2), kwargs={"seconds": 30})
    second.start()
    while not pool._executor._work_queue.qsize():
        threading.Event().wait(0.001)
    both_wait.set()
    first.join()
    second.join()
    pool.close()
    assert "".join(order) == "ababaaaa"


def test_slow_addresses_leave_threads_to_others(app):
    state = app.extensions[EXTENSION]
    held = [state.fetching._room_for_one() for _ in range(state.context.settings.server.threads // 2)]
    for one in held:
        one.__enter__()
    client = app.test_client()
    remote = {"input": {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}}
    answer = client.post("/v1/embeddings", json=remote)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    here = {"input": {"image": base64.b64encode(picture("red")).decode()}}
    assert client.post("/v1/embeddings", json=here).status_code == 200
    for one in held:
        one.__exit__(None, None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"[" + b"[]," * MAX_VALUES + b"[]]",
        b"{" + b",".join(b'"%d":1' % number for number in range(MAX_VALUES + 1)) + b"}",
        b'["\\\\","' + b'\\"' * 9 + b'"' + b',""' * MAX_VALUES + b"]",
    ],
    ids=["numbers", "lists", "keys", "strings"],
)
def test_json_of_too_many_values_is_refused_before_it_is_built(body):
    with pytest.raises(TooLarge, match="at most 100000 values"):
        parse_json(body)


@pytest.mark.parametrize(
    "text", ["a, [b], {c}, " * MAX_VALUES, '\\", [' * MAX_VALUES], ids=["plain", "quoted"]
)
def test_commas_and_brackets_in_a_text_are_no_values(text):
    assert parse_json(json.dumps({"input": text}).encode()) == {"input": text}
    with pytest.raises(InvalidInput):
        parse_json(b'{"input": "' + text.encode())


def test_bytes_that_are_not_utf8_are_named_by_their_place():
    with pytest.raises(InvalidInput, match="at byte 13"):
        parse_json(b'{"input": "ab\xff"}')


def test_only_old_left_overs_are_swept(tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name, written in (("old", 1000.0), ("new", 99_000.0)):
        (folder / name).touch()
        os.utime(folder / name, (written, written))
    sweep(tmp_path, 100_000.0)
    assert [path.name for path in folder.iterdir()] == ["new"]
    sweep(tmp_path / "nowhere", 0.0)
