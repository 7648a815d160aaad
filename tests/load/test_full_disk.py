"""What callers of a server see when its disk fills up, and when there is room again."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import faults
import pytest
from test_kills_under_load import serve

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def upload(server: faults.Server, data: bytes) -> tuple[int, dict[str, Any]]:
    boundary = secrets.token_hex(8)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x.txt"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    connection.request("POST", "/v1/files", body, headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told


def text_of(size: int) -> bytes:
    return secrets.token_hex(size // 2).encode()


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as out:
        try:
            while out.write(os.urandom(1 << 12)):
                pass
        except OSError:
            return path
    return path


def test_writing_gets_507_reading_goes_on_and_nothing_is_lost(small_disk: Path) -> None:
    command, environment = serve()
    server = faults.Server(command, small_disk, environment)
    try:
        faults._until(server.ready, 60, "ready")
        store = server.call("POST", "/v1/vector_stores", {"name": "mine"})["id"]
        items = f"/v1/vector_stores/{store}/items"
        server.call("PUT", f"{items}/first", {"content": "red"})
        kept = {}
        for _ in range(40):
            data = text_of(MEGABYTE)
            status, told = upload(server, data)
            if status != 200:
                break
            kept[told["id"]] = data
        assert kept
        assert (status, told["error"]["code"]) == (507, "storage_full")
        assert "full disk" in told["error"]["message"]

        filler = fill(small_disk)
        with pytest.raises(OSError, match="507"):
            put_until_refused(server, items)
        check(server, store, kept)
        filler.unlink()
        server.call("PUT", f"{items}/last", {"content": "green"})
        assert upload(server, text_of(1000))[0] == 200
        check(server, store, kept)
    finally:
        server.stop()


def put_until_refused(server: faults.Server, items: str) -> None:
    for number in range(200):  # SQLite has room of its own for a while
        server.call("PUT", f"{items}/{number}", {"content": "boat", "attributes": {"text": "x" * 500}})


def check(server: faults.Server, store: str, kept: dict[str, bytes]) -> None:
    """Everything that was acknowledged can be read and searched."""
    for name, data in kept.items():
        assert server.raw("GET", f"/v1/files/{name}/content") == data
    found = server.call("POST", f"/v1/vector_stores/{store}/search", {"query": "red"})["data"]
    assert found
