import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chiasm.errors import StoreError
from chiasm.stores import DataDirLock, holder_of

HOLD = """
import sys, pathlib
from chiasm.stores import DataDirLock
with DataDirLock(pathlib.Path(sys.argv[1]), address="ipc:///somewhere"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    found = holder_of(tmp_path)
    assert found is not None
    assert (found.pid, found.address) == (holder.pid, "ipc:///somewhere")
    with pytest.raises(StoreError, match=str(holder.pid)) as caught:
        DataDirLock(tmp_path).acquire()
    assert str(holder.pid) in caught.value.zh
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert holder_of(tmp_path) is None
    with DataDirLock(tmp_path):
        assert (holder_of(tmp_path) or found).pid == os.getpid()


def test_two_in_one_process_are_refused_too(tmp_path: Path) -> None:
    with DataDirLock(tmp_path / "new"), pytest.raises(StoreError):
        DataDirLock(tmp_path / "new").acquire()
    with DataDirLock(tmp_path / "new"):
        pass


def test_nobody_holds_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "nowhere") is None


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        DataDirLock(tmp_path / "file").acquire()
