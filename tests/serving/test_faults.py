"""What callers see when an engine dies, stands still, is poisoned or shut down: real processes throughout."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from fake_engine_model import HOLDS, KILLS, SLEEPS, item, vector
from test_supervisor import Running, eventually

from chiasm.errors import Overloaded
from chiasm.serving.addresses import ipc_address, make_private_folder
from chiasm.serving.client import EngineClient
from chiasm.settings import EngineSettings, ModelSettings, Settings


class Site:
    """An engine under a supervisor, and a client."""

    def __init__(self, folder: Path, *, stuck_seconds: float = 120.0) -> None:
        self.sockets = make_private_folder()
        self.address = ipc_address(self.sockets, "engine")
        self.checkpoint = folder / "checkpoint"
        self.checkpoint.write_text("r1")
        self.gate = folder / "gate"
        os.environ["CHIASM_TEST_GATE"] = str(self.gate)
        settings = Settings(
            model=ModelSettings(source=str(self.checkpoint)),
            engine=EngineSettings(cache_bytes=0, max_batch_cost=1.0, stuck_seconds=stuck_seconds),
        )
        args = {
            "settings": msgspec.to_builtins(settings, enc_hook=str),
            "address": self.address,
            "loader": "fake_engine_model:load",
        }
        self.running = Running(folder, [("engine", "chiasm.serving.engine:run_engine", args)], grace=20.0)
        self.client = EngineClient(self.address, connect_grace=60)

    def engine_pid(self) -> int:
        return self.client.status(timeout=60).pid

    def close(self) -> None:
        self.client.close()
        self.running.process.kill()
        self.running.process.wait()
        for path in self.sockets.iterdir():
            path.unlink()
        self.sockets.rmdir()


@pytest.fixture
def impatient_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Half a second is too long for a batch."""
    monkeypatch.setenv("CHIASM_TEST_GATE", "")
    site = Site(tmp_path, stuck_seconds=0.5)
    yield site
    site.close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("CHIASM_TEST_GATE", "")
    site = Site(tmp_path)
    yield site
    site.close()


def works(site: Site) -> bool:
    np.testing.assert_allclose(site.client.embed_prepared([item(5)]), [vector(5)], atol=1e-7)
    return True


def busy(site: Site) -> Callable[[], Any]:
    return lambda: site.client.status(timeout=60).busy_seconds > 0


def test_killing_the_engine_fails_its_calls_at_once_and_the_next_ones_succeed(site: Site) -> None:
    assert works(site)
    before = site.engine_pid()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(site.client.embed_prepared, [item(SLEEPS)]) for _ in range(4)]
        eventually(busy(site))
        os.kill(before, signal.SIGKILL)
        for call in calls:  # the model would sleep for ever
            with pytest.raises(Overloaded) as caught:
                call.result(60)
            assert caught.value.code == "engine_unavailable"
            assert caught.value.retry_after
    assert works(site)
    assert site.engine_pid() != before
    state = site.running.state()
    assert state is not None
    assert state.children["engine"].restarts == 1


def test_an_item_that_kills_the_engine_does_not_take_the_service_down(site: Site) -> None:
    with pytest.raises(Overloaded, match="stopped while"):
        site.client.embed_prepared([item(KILLS)])
    assert works(site)


def test_a_restart_with_another_revision_is_seen_in_the_greeting(site: Site) -> None:
    assert site.client.description.revision == "r1"
    site.checkpoint.write_text("r2")
    os.kill(site.engine_pid(), signal.SIGKILL)
    eventually(lambda: site.client.description.revision == "r2")
    assert works(site)


def test_stopping_finishes_the_work_in_progress(site: Site) -> None:
    assert works(site)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(site.client.embed_prepared, [item(SLEEPS)])
        eventually(busy(site))
        site.running.process.send_signal(signal.SIGTERM)
        eventually(lambda: refused_as_draining(site))
        site.gate.touch()
        np.testing.assert_allclose(call.result(60), [vector(SLEEPS)], atol=1e-7)
    assert site.running.process.wait(60) == 0


def refused_as_draining(site: Site) -> bool:
    try:
        site.client.status(timeout=60)
    except Overloaded as error:
        return error.code == "draining"
    return False


def test_a_checkpoint_that_cannot_be_loaded_ends_the_server_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    settings = Settings(model=ModelSettings(source=str(tmp_path / "nothing")))
    args = {
        "settings": msgspec.to_builtins(settings, enc_hook=str),
        "address": f"ipc://{tmp_path}/s/e",
        "loader": "fake_engine_model:load",
    }
    running = Running(tmp_path, [("engine", "chiasm.serving.engine:run_engine", args)])
    try:
        assert running.process.wait(60) == 1
    except subprocess.TimeoutExpired:
        running.process.kill()
        raise
    assert "log: engine: cannot work as it is set up" in running.events()


@pytest.mark.parametrize("what", [SLEEPS, HOLDS])
def test_an_engine_that_is_stuck_is_replaced(impatient_site: Site, what: int) -> None:
    assert works(impatient_site)
    before = impatient_site.engine_pid()
    with pytest.raises(Overloaded) as caught:
        impatient_site.client.embed_prepared([item(what)])  # it would never end
    assert caught.value.code == "engine_unavailable"
    assert works(impatient_site)
    assert impatient_site.engine_pid() != before


def stopped_answer(site: Site) -> Overloaded | None:
    """What a call gets from an engine that stands still; None when another took its place before the call."""
    pid = site.engine_pid()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        site.client.embed_prepared([item(5)], deadline=time.time() + 600)
    except Overloaded as error:
        return error
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return None


def test_an_engine_that_stands_still_is_noticed_without_waiting_for_the_timeout(site: Site) -> None:
    assert works(site)
    assert eventually(lambda: stopped_answer(site)).code == "engine_unavailable"
    assert works(site)
