"""What a request takes along, and what is not taken in."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from chiasm.observe.carried import carried, carrying, in_other_threads, well_formed
from chiasm.serving.addresses import ipc_address
from chiasm.serving.rpc import RpcClient, RpcServer

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_it_is_carried_inside_and_nowhere_else():
    with carrying({"request_id": "a"}):
        with carrying({"request_id": "b"}):
            assert carried() == {"request_id": "b"}
        assert carried() == {"request_id": "a"}
    assert carried() == {}


def test_other_threads_carry_it_only_for_as_long_as_they_work_on_it():
    with ThreadPoolExecutor(1) as pool:
        with carrying({"request_id": "a"}):
            work = in_other_threads(lambda n: (n, dict(carried())))
        assert pool.submit(work, 7).result() == (7, {"request_id": "a"})
        assert pool.submit(lambda: dict(carried())).result() == {}


@pytest.mark.parametrize(
    "values",
    [
        {"request_id": "two\nlines"},
        {"request_id": "x" * 129},
        {"request_id": ""},
        {"request_id": 7},
        {"traceparent": GOOD.upper()},
        {"traceparent": GOOD + "-more"},
        {"traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"},
        {"baggage": "anything"},
    ],
)
def test_what_is_malformed_is_left_behind(values):
    assert well_formed(values) == {}


def test_what_is_well_formed_is_taken():
    assert well_formed({"request_id": "req_1.a:b-c", "traceparent": GOOD, "more": "x"}) == {
        "request_id": "req_1.a:b-c",
        "traceparent": GOOD,
    }


def test_calls_between_processes_carry_it(tmp_path):
    tmp_path.chmod(0o700)
    address = ipc_address(tmp_path, "s")
    tell = {"tell": lambda _payload, _arrays: ({"carried": dict(carried())}, [])}
    with RpcServer(address, tell) as _, RpcClient(address, connect_grace=20) as client:
        with carrying({"request_id": "a", "traceparent": GOOD, "other": "left behind"}):
            assert client.call("tell", {})[0] == {"carried": {"request_id": "a", "traceparent": GOOD}}
        assert client.call("tell", {})[0] == {"carried": {}}
