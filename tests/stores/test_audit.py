"""The audit log: nothing is lost, several processes share it, and it does not grow without end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chiasm.stores import AuditLog
from chiasm.stores.audit import FILE


def lines(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_text().splitlines()]


def test_what_was_written_is_there_after_the_end_in_order(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "new", max_bytes=1 << 20, files=2) as log:
        for n in range(1000):
            log.write({"n": n, "name": "名称\n"})
    log.close()
    assert lines(tmp_path / "new" / FILE) == list(range(1000))


def test_it_is_rotated_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    with AuditLog(tmp_path, max_bytes=100, files=3) as log:
        for n in range(100):
            log.write({"n": n})
    kept = sorted(path.name for path in tmp_path.glob(f"{FILE}*"))
    assert kept == [FILE, f"{FILE}.1", f"{FILE}.2"]
    assert all((tmp_path / name).stat().st_size <= 100 for name in kept)
    found = [n for name in reversed(kept) for n in lines(tmp_path / name)]
    assert found == list(range(100 - len(found), 100))
    assert len(found) > 20


def test_of_one_file_only_the_newest_lines_are_kept(tmp_path: Path) -> None:
    with AuditLog(tmp_path, max_bytes=20, files=1) as log:
        for n in range(10):
            log.write({"n": n})
    assert [path.name for path in tmp_path.glob(f"{FILE}*")] == [FILE]
    assert lines(tmp_path / FILE)[-1] == 9


def test_processes_that_write_and_rotate_at_once_lose_nothing(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from chiasm.stores import AuditLog
with AuditLog(Path(sys.argv[1]), max_bytes=2000, files=100) as log:
    for n in range(500):
        log.write({"n": int(sys.argv[2]) + n})
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), start]) for start in ("0", "500")
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    found = [n for path in tmp_path.glob(f"{FILE}*") for n in lines(path)]
    assert sorted(found) == list(range(1000))


def test_lines_wait_while_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(tmp_path, max_bytes=1 << 20, files=2)
    full = iter([OSError(28, "No space left on device")])
    put = log._put

    def fail_once(line: bytes) -> int:
        for error in full:
            raise error
        return put(line)

    monkeypatch.setattr(log, "_put", fail_once)
    log.write({"n": 1})
    while not caplog.records:
        pass
    log.write({"n": 2})
    log.close()
    assert lines(tmp_path / FILE) == [1, 2]
    assert "No space left" in caplog.text
