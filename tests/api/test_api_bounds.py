"""Time and room are bounded."""

import base64
import itertools
import os
import threading
from dataclasses import replace

import pytest
from api_fakes import ColourModel, context_of, picture, settings_for

from chiasm.api import create_app
from chiasm.api.pool import DecodePool
from chiasm.api.uploads import sweep
from chiasm.errors import DeadlineExceeded, InvalidInput, Overloaded


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
    pool = DecodePool(2, max_waiting=4)
    assert pool.map(lambda n: n * n, list(range(6)), seconds=30) == [0, 1, 4, 9, 16, 25]

    def refuse(_: int) -> None:
        raise InvalidInput("expected more", "应更多", param="input[0]")

    with pytest.raises(InvalidInput):
        pool.map(refuse, [1], seconds=30)
    assert pool.map(str, [1], seconds=30) == ["1"]
    pool.close()


def test_a_full_pool_refuses_and_a_slow_one_gives_up():
    pool = DecodePool(1, max_waiting=0)
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


def test_only_old_left_overs_are_swept(tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name, written in (("old", 1000.0), ("new", 99_000.0)):
        (folder / name).touch()
        os.utime(folder / name, (written, written))
    sweep(tmp_path, 100_000.0)
    assert [path.name for path in folder.iterdir()] == ["new"]
    sweep(tmp_path / "nowhere", 0.0)
