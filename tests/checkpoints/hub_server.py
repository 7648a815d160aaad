"""A model hub on loopback, in both dialects, that can be told to misbehave."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it has, and what goes wrong: files that end early (once each), are sent changed, or listed so."""

    files: dict[str, bytes]
    url: str = ""
    licence: str = "mit"
    cut: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    listed: dict[str, str] = field(default_factory=dict)
    elsewhere: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str) -> Any:
        """The listing of either dialect; None for anything else."""
        sha = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}
        if path.startswith("/api/v1/models/owner/tiny/repo/files"):
            entries = [
                {"Path": n, "Size": len(d), "Sha256": sha[n], "Type": "blob"} for n, d in self.files.items()
            ]
            return {
                "Data": {
                    "Files": [{"Path": "1_Pooling", "Type": "tree"}, *entries],
                    "LatestCommitter": {"Id": COMMIT},
                }
            }
        if path == "/api/v1/models/owner/tiny":
            return {"Data": {"License": self.licence}}
        if path.startswith("/api/models/owner/tiny/revision/"):
            siblings = []
            for name, data in self.files.items():
                entry: dict[str, Any] = {"rfilename": self.listed.get(name, name), "size": len(data)}
                if name.endswith(".safetensors"):
                    entry["lfs"] = {"sha256": sha[name]}
                entry["blobId"] = hashlib.sha1(
                    b"blob %d\0" % len(data) + data, usedforsecurity=False
                ).hexdigest()
                siblings.append(entry)
            return {"sha": COMMIT, "siblings": siblings, "cardData": {"license": self.licence}}
        return None


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append((self.path, dict(self.headers)))
            found = hub.answer(self.path)
            if found is not None:
                self._send(json.dumps(found).encode())
                return
            name = urlsplit(self.path).path.partition(f"/resolve/{COMMIT}/")[2]
            if name not in hub.files:
                self.send_error(404)
            elif hub.elsewhere and name.endswith(".safetensors"):
                self.send_response(302)
                self.send_header("Location", hub.elsewhere + self.path)
                self.end_headers()
            else:
                self._send_file(name)

        def _send_file(self, name: str) -> None:
            data = hub.files[name]
            if name in hub.changed:
                data = bytes([data[0] ^ 1]) + data[1:]
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            status = 206 if start else 200
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if name in hub.cut:
                hub.cut.discard(name)
                self.wfile.write(data[start : start + len(data) // 2])
                self.close_connection = True
                return
            self.wfile.write(data[start:])

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
