"""Calls between processes, over real sockets; the other process is mostly a thread here."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zmq

from chiasm.errors import ChiasmError, DeadlineExceeded, InvalidInput, NotFound, Overloaded, SettingsError
from chiasm.serving.addresses import ipc_address, make_private_folder
from chiasm.serving.rpc import Handler, IncomingCall, RpcClient, RpcServer


@pytest.fixture
def address() -> Iterator[str]:
    folder = make_private_folder()
    yield ipc_address(folder, "s")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def double(payload: dict, arrays: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
    return {"got": payload}, [2 * array for array in arrays]


def refuse(payload: dict, arrays: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
    raise InvalidInput("expected a cat, got a dog", "应为猫，实际为狗", param="input[3]", code="not_a_cat")


def crash(payload: dict, arrays: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
    raise ZeroDivisionError("secret detail")


HANDLERS: dict[str, Handler] = {"double": double, "refuse": refuse, "crash": crash}


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_call_brings_payload_and_arrays_back(address: str) -> None:
    big = np.arange(100_000, dtype=np.float32)
    with RpcServer(address, HANDLERS), RpcClient(address) as client:
        payload, (small, large) = client.call("double", {"x": [1, "二"]}, [np.array([3], np.int16), big])
    assert payload == {"got": {"x": [1, "二"]}}
    assert small.tolist() == [6]
    np.testing.assert_array_equal(large, 2 * big)


def test_many_threads_share_one_client(address: str) -> None:
    def once(number: int) -> int:
        _, (answer,) = client.call("double", {}, [np.full(3, number, np.int64)])
        return int(answer[0])

    with RpcServer(address, HANDLERS), RpcClient(address) as client, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(once, range(200))) == [2 * n for n in range(200)]


def test_our_errors_cross_whole(address: str) -> None:
    with RpcServer(address, HANDLERS), RpcClient(address) as client:
        with pytest.raises(InvalidInput) as caught:
            client.call("refuse", {})
        error = caught.value
        assert (error.en, error.zh) == ("expected a cat, got a dog", "应为猫，实际为狗")
        assert (error.param, error.code, error.retry_after) == ("input[3]", "not_a_cat", None)
        with pytest.raises(NotFound, match="no method 'nothing'"):
            client.call("nothing", {})


def test_other_errors_cross_without_their_details(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with RpcServer(address, HANDLERS), RpcClient(address) as client:
        with pytest.raises(ChiasmError) as caught:
            client.call("crash", {})
        assert caught.value.code == "internal_error"
        assert "secret" not in caught.value.en + caught.value.zh
        assert "secret detail" in caplog.text
        assert client.call("double", {})[0] == {"got": {}}


def test_an_answer_that_cannot_be_packed_is_an_error_not_a_silence(address: str) -> None:
    handlers: dict[str, Handler] = {"odd": lambda payload, arrays: ({}, [np.array(["text"])])}
    with RpcServer(address, handlers), RpcClient(address) as client, pytest.raises(ChiasmError):
        client.call("odd", {})


def test_a_timeout_raises_and_cancels(address: str) -> None:
    left = threading.Event()

    def never(call: IncomingCall) -> None:
        calls.append(call)

    calls: list[IncomingCall] = []
    with (
        RpcServer(address, {}, deferred={"never": never}, on_cancel=lambda call: left.set()),
        RpcClient(address) as client,
    ):
        with pytest.raises(DeadlineExceeded):
            client.call("never", {}, timeout=0.2)
        assert left.wait(20)
        assert calls[0].cancelled
        calls[0].reply({})  # too late: goes nowhere, harms nobody


def test_queued_work_whose_caller_left_is_not_done(address: str) -> None:
    gate, done = threading.Event(), []

    def slow(payload: dict, arrays: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
        done.append(payload["name"])
        gate.wait(20)
        return {}, []

    with RpcServer(address, {"slow": slow}, threads=1) as server, RpcClient(address) as client:
        first = client.start("slow", {"name": "first"})
        eventually(lambda: done == ["first"])
        left = client.start("slow", {"name": "left"})
        last = client.start("slow", {"name": "last"})
        eventually(lambda: server.pending == 3)
        left.cancel()
        eventually(lambda: server.pending == 2)
        gate.set()
        first.result()
        last.result()
    assert done == ["first", "last"]


def test_too_many_calls_are_refused_at_once(address: str) -> None:
    gate = threading.Event()
    handlers: dict[str, Handler] = {"wait": lambda payload, arrays: ({"ok": gate.wait(20)}, [])}
    with RpcServer(address, handlers, threads=1, max_pending=2), RpcClient(address) as client:
        accepted = [client.start("wait", {}) for _ in range(2)]
        with pytest.raises(Overloaded) as caught:
            client.call("wait", {})
        assert caught.value.retry_after
        gate.set()
        assert [call.result()[0] for call in accepted] == [{"ok": True}] * 2


def test_without_a_server_a_call_fails_soon(address: str) -> None:
    with RpcClient(address, service="library", connect_grace=0.05) as client:
        with pytest.raises(Overloaded, match="library is not there") as caught:
            client.call("double", {}, timeout=600)
        assert caught.value.code == "library_unavailable"
        assert caught.value.retry_after


def test_a_call_made_just_before_the_server_is_up_is_answered(address: str) -> None:
    with RpcClient(address, connect_grace=20) as client:
        early = client.start("double", {"n": 1})
        with RpcServer(address, HANDLERS):
            assert early.result()[0] == {"got": {"n": 1}}


def test_stopping_answers_what_is_in_progress_and_refuses_the_rest(address: str) -> None:
    gate, begun = threading.Event(), threading.Event()

    def slow(payload: dict, arrays: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
        begun.set()
        gate.wait(20)
        return {"done": True}, []

    server = RpcServer(address, {"slow": slow}).start()
    with RpcClient(address) as client:
        call = client.start("slow", {})
        begun.wait(20)
        stopper = threading.Thread(target=server.stop, args=(20.0,))
        stopper.start()
        eventually(lambda: server.draining)
        with pytest.raises(Overloaded) as caught:
            client.call("slow", {})
        assert caught.value.code == "draining"
        gate.set()
        assert call.result()[0] == {"done": True}
        stopper.join()


def test_an_answer_given_at_the_last_moment_is_not_lost(address: str) -> None:
    """The answer and the end of the connection come together: answers that have come are read first."""
    with RpcClient(address, connect_grace=20) as client:
        for number in range(20):
            begun, gate = threading.Event(), threading.Event()

            def slow(payload: dict, arrays: list[np.ndarray], begun=begun, gate=gate) -> tuple[dict, list]:
                begun.set()
                gate.wait(20)
                return payload, []

            server = RpcServer(address, {"slow": slow}).start()
            call = client.start("slow", {"number": number})
            assert begun.wait(20)
            threading.Timer(0.002, gate.set).start()
            server.stop(20)
            assert call.result()[0] == {"number": number}
            eventually(lambda: not client.connected)


def test_closing_the_client_fails_what_is_in_progress(address: str) -> None:
    handlers: dict[str, Handler] = {"wait": lambda payload, arrays: ({"ok": gate.wait(20)}, [])}
    gate = threading.Event()
    with RpcServer(address, handlers):
        client = RpcClient(address)
        call = client.start("wait", {})
        client.close()
        client.close()
        with pytest.raises(Overloaded, match="closed"):
            call.result()
        with pytest.raises(Overloaded, match="closed"):
            client.call("wait", {})
        gate.set()


def test_garbage_is_dropped_and_the_server_lives(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with RpcServer(address, HANDLERS), zmq.Context() as context:
        with context.socket(zmq.DEALER) as vandal:
            vandal.connect(address)
            for frames in ([b"garbage"], [b""], [b"\x93\xa4call"], [b"a", b"b", b"c"]):
                vandal.send_multipart(frames)
            eventually(lambda: caplog.text.count("malformed") == 4)
        with RpcClient(address) as client:
            assert client.call("double", {})[0] == {"got": {}}


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(SettingsError, match="0700"):
        RpcServer(f"ipc://{tmp_path}/s", {})


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:5555", "ipc://relative", "ipc:///no/such/folder/s"])
def test_only_ipc_in_an_existing_folder_is_listened_on(address: str) -> None:
    with pytest.raises(SettingsError):
        RpcServer(address, {})


SERVER = """
import sys, time
from chiasm.serving.rpc import RpcServer
def hang(payload, arrays):
    print("hanging", flush=True)
    time.sleep(600)
RpcServer(sys.argv[1], {"hang": hang, "pid": lambda p, a: ({"pid": __import__("os").getpid()}, [])}).start()
print("up", flush=True)
time.sleep(600)
"""


def spawn(address: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", SERVER, address], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_a_killed_server_is_noticed_at_once_and_found_again_after_its_restart(address: str) -> None:
    with RpcClient(address, connect_grace=20) as client:
        first = spawn(address)
        assert client.call("pid", {})[0] == {"pid": first.pid}
        call = client.start("hang", {}, timeout=600)
        assert first.stdout is not None
        assert first.stdout.readline() == "hanging\n"
        end(first)
        with pytest.raises(Overloaded, match="stopped") as caught:  # not after 600 seconds
            call.result()
        assert caught.value.code == "engine_unavailable"
        before = client.generation
        second = spawn(address)
        assert client.call("pid", {})[0] == {"pid": second.pid}
        assert client.generation == before + 1
        end(second)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_works_in_a_forked_child(address: str) -> None:
    with RpcServer(address, HANDLERS), RpcClient(address) as client:
        client.call("double", {})
        child = os.fork()
        if child == 0:
            try:
                ok = client.call("double", {"n": 1})[0] == {"got": {"n": 1}}
            finally:
                os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.call("double", {})


def test_a_forgotten_client_does_not_keep_the_process(address: str) -> None:
    script = "import sys; from chiasm.serving.rpc import RpcClient; RpcClient(sys.argv[1]).call('double', {})"
    with RpcServer(address, HANDLERS):
        subprocess.run([sys.executable, "-c", script, address], timeout=60, check=True)
