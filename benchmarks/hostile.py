"""Ten thousand requests that nobody should send: does anything break, hang or grow? See README.md.

The whole of /openapi.json by schemathesis, damaged media of every kind, and shapes of HTTP that are no
requests. What the server answered is read from its own /metrics, so that no client can overlook it.
"""

import argparse
import io
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from PIL import Image

from chiasm.evaluation.speed.server import Server, audio_part, image_part, tone
from chiasm.evaluation.speed.traffic import Traffic, closed_loop, post

ENVIRONMENT = {"CHIASM_LIBRARY_SAMPLE": "false", "CHIASM_LIBRARY_OCR": "false"}
CLIENTS = 8
SLOWEST = 60.0  # seconds: ``server.deadline`` as it is shipped
RAW_SECONDS = 15.0  # until a shape that is no request must have been answered or closed
GROWTH = 0.05  # of memory between the first and the second half of the damaged media
ALLOWED = frozenset({"503", "504"})  # with a code of their own, and a time to come again


def main() -> int:
    """Run all three, print what came of them, and tell whether it was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=60, help="of schemathesis, for each operation")
    parser.add_argument("--media", type=int, default=5000, help="damaged media")
    parser.add_argument("--shapes", type=int, default=20, help="times that each shape is sent")
    parser.add_argument("--model", default=None, help="as for chiasm serve")
    wanted = parser.parse_args()
    failures: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="chiasm-hostile-") as name,
        Server(wanted.model, Path(name), environment=ENVIRONMENT) as server,
    ):
        server.first_embedding()
        if wanted.examples:
            failures += schema(server.port, wanted.examples)
        failures += media(server, wanted.media)
        failures += shapes(server.port, wanted.shapes)
        answered = statuses(server.port)
        last = closed_loop(
            server.port, lambda _: post("/v1/embeddings", {"input": "?"}), clients=1, seconds=0.01
        )
    failures += [] if last.with_status(200) else ["the server is not well afterwards"]
    shown = ", ".join(f"{status}: {count}" for status, count in sorted(answered.items()))
    print(f"{sum(answered.values())} answers by status: {shown}")
    failures += [f"{n} answers of {s}" for s, n in answered.items() if s >= "500" and s not in ALLOWED]
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def schema(port: int, examples: int) -> list[str]:
    """Whatever the document allows and does not, but for the route that reads folders of this machine."""
    ran = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json",
            "--checks", "not_a_server_error", "--max-examples", str(examples), "--workers", "2",
            "--exclude-path-regex", "/folders$", "--request-timeout", str(SLOWEST), "--no-color",
            "--seed", "1", "--suppress-health-check", "all",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    tail = ran.stdout[ran.stdout.rfind("SUMMARY") :] or ran.stderr
    print(
        " | ".join(line.strip() for line in tail.splitlines() if re.search(r"generated|passed|failed", line))
    )
    trouble = ran.stdout[ran.stdout.find("= ERRORS") :][:2000] or ran.stderr[-2000:]
    return [] if ran.returncode == 0 else [f"schemathesis ended with {ran.returncode}: {trouble}"]


def media(server: Server, count: int) -> list[str]:
    """Files of every kind, each damaged in another way: half of them, a look at the memory, the others."""
    originals = samples()
    kinds = sorted(originals)

    def make(number: int) -> bytes:
        rng = random.Random(number)
        kind = kinds[number % len(kinds)]
        data = damaged(originals[kind], rng, originals[rng.choice(kinds)])
        part = audio_part(data) if kind in {"wav", "flac", "mp3"} else image_part(data)
        part = {"video": next(iter(part.values()))} if kind in {"mp4", "mkv"} else part
        return post("/v1/embeddings", {"input": [part]})

    found: list[str] = []
    before, halves = 0, []
    for half in range(2):
        answers: list[Traffic] = []
        while sum(len(one.answers) for one in answers) < count / 2:
            start = before + sum(len(one.answers) for one in answers)
            answers.append(
                closed_loop(server.port, lambda i, s=start: make(s + i), clients=CLIENTS, seconds=2.0)
            )
        before += sum(len(one.answers) for one in answers)
        halves.append(server.usage())
        everything = [answer for one in answers for answer in one.answers]
        slowest = max(answer.seconds for answer in everything)
        unanswered = sum(answer.status == 0 for answer in everything)
        used = halves[half]
        print(
            f"{len(everything)} damaged media, slowest {slowest:.1f} s, memory {used.pss / 1e6:.0f} MB, "
            f"{used.descriptors} descriptors, {used.threads} threads"
        )
        if slowest > SLOWEST or unanswered:
            found.append(f"{unanswered} damaged media without an answer, slowest {slowest:.1f} s")
    if halves[1].pss > (1 + GROWTH) * halves[0].pss:
        found.append(f"memory grew from {halves[0].pss / 1e6:.0f} to {halves[1].pss / 1e6:.0f} MB")
    return found


def samples() -> dict[str, bytes]:
    """A small whole file of each kind."""
    rng = np.random.default_rng(29)
    frames = [Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)) for _ in range(3)]
    found = {"wav": tone(rng)}
    for kind, options in {
        "jpeg": {},
        "png": {},
        "bmp": {},
        "tiff": {},
        "avif": {},
        "gif": {"save_all": True, "append_images": frames[1:]},
        "webp": {"save_all": True, "append_images": frames[1:]},
    }.items():
        out = io.BytesIO()
        frames[0].save(out, kind.upper(), **options)
        found[kind] = out.getvalue()
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    found["apng"] = out.getvalue()
    found |= {kind: _sound(kind, rng) for kind in ("flac", "mp3")}
    found |= {kind: _clip(kind, frames) for kind in ("mp4", "mkv")}
    out = io.BytesIO()
    frames[0].save(out, "PDF")
    found["pdf"] = out.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w:document/>" * 100)
    found["docx"] = out.getvalue()
    return found


def _sound(kind: str, rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream("flac" if kind == "flac" else "libmp3lame", rate=16_000)
        samples16 = (rng.normal(0, 3000, (1, 16_000))).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples16, format="s16", layout="mono")
        frame.sample_rate = 16_000
        resampler = av.AudioResampler(format=stream.codec_context.format or "s16", layout="mono", rate=16_000)
        for piece in resampler.resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode())
    return out.getvalue()


def _clip(kind: str, frames: list[Image.Image]) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="matroska" if kind == "mkv" else kind) as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(16):
            container.mux(stream.encode(av.VideoFrame.from_image(frames[number % len(frames)])))
        container.mux(stream.encode())
    return out.getvalue()


def damaged(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Bits flipped, mostly at the front; cut; doubled; spliced with another kind; numbers made huge."""
    way = rng.randrange(6)
    if way == 0:
        return data[: rng.randrange(len(data))]
    if way == 1:
        return data + data[rng.randrange(len(data)) :]
    if way == 2:
        return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    changed = bytearray(data)
    reach = min(len(data), 200) if way < 5 else len(data)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(reach)
        if way == 3:
            changed[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
        else:
            changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _head(*lines: str) -> bytes:
    return (
        "\r\n".join(("POST /v1/embeddings HTTP/1.1", "Host: localhost", *lines)).encode("latin-1")
        + b"\r\n\r\n"
    )


BODY = b'{"input": "x"}'
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
SHAPES: dict[str, Callable[[], bytes]] = {
    "length and chunks": lambda: _head("Content-Length: 5", CHUNKED)
    + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "two lengths": lambda: _head("Content-Length: 14", "Content-Length: 2") + BODY,
    "two lengths in one": lambda: _head("Content-Length: 14, 2") + BODY,
    "negative length": lambda: _head("Content-Length: -1") + BODY,
    "length with a sign": lambda: _head("Content-Length: +14") + BODY,
    "huge length": lambda: _head(f"Content-Length: {10**30}") + BODY,
    "bad chunk size": lambda: _head(CHUNKED) + b"zz\r\nab\r\n0\r\n\r\n",
    "huge chunk size": lambda: _head(CHUNKED) + b"f" * 40 + b"\r\nab\r\n",
    "strange coding": lambda: _head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "folded header": lambda: _head("X-A: b\r\n c: d", "Content-Length: 14") + BODY,
    "space before colon": lambda: _head("Content-Length : 14") + BODY,
    "bare newlines": lambda: b"POST /v1/embeddings HTTP/1.1\nHost: localhost\nContent-Length: 14\n\n" + BODY,
    "nul in a header": lambda: _head("X-A: a\0b", "Content-Length: 14") + BODY,
    "no host": lambda: b"POST /v1/embeddings HTTP/1.1\r\nContent-Length: 14\r\n\r\n" + BODY,
    "two hosts": lambda: _head("Host: elsewhere", "Content-Length: 14") + BODY,
    "many headers": lambda: _head(*(f"X-{i}: {i}" for i in range(5000)), "Content-Length: 14") + BODY,
    "long header": lambda: _head("X-A: " + "a" * (1 << 20), "Content-Length: 14") + BODY,
    "long address": lambda: b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "http/9": lambda: b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "no http": lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "half a request": lambda: b"POST /v1/embeddings HTTP/1.1\r\nHost: loc",
    "wrong type": lambda: _head("Content-Type: text/plain", "Content-Length: 14") + BODY,
    "wrong encoding": lambda: _head(JSON, "Content-Encoding: gzip", "Content-Length: 14") + BODY,
    "deep json": lambda: _head(JSON, "Content-Length: 200000") + b"[" * 200_000,
    "not utf-8": lambda: _head(JSON, "Content-Length: 3") + b'"\xff"',
}  # fmt: skip


def shapes(port: int, times: int) -> list[str]:
    """Each gets an answer that is no success beyond its due, or a closed connection; none hangs."""
    found, slowest = [], 0.0
    answers: Counter[str] = Counter()
    for name, make in SHAPES.items():
        for _ in range(times):
            begun = time.perf_counter()
            statuses_of = _sent(port, make())
            slowest = max(slowest, time.perf_counter() - begun)
            answers.update(statuses_of or ["closed"])
            if len(statuses_of) > 1 and name != "bare newlines":
                found.append(f"{name}: {len(statuses_of)} answers to one request: it was smuggled")
                break
            if any(status >= "500" for status in statuses_of):
                found.append(f"{name}: answered with {statuses_of}")
                break
        if time.perf_counter() - begun > RAW_SECONDS:
            found.append(f"{name}: neither answered nor closed within {RAW_SECONDS:g} s")
    print(f"{times * len(SHAPES)} shapes of HTTP, slowest {slowest:.1f} s: {dict(answers)}")
    return found


def _sent(port: int, data: bytes) -> list[str]:
    """The statuses of all answers to these bytes, until the server closes or is silent for a second."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=RAW_SECONDS + 1) as connection:
        with suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while piece := connection.recv(1 << 16):
                received += piece
                connection.settimeout(1.0)
    return re.findall(r"HTTP/1\.[01] (\d{3})", received.decode("latin-1"))


def statuses(port: int) -> Counter[str]:
    """Requests by status, as the server counted them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for labels, value in re.findall(r"^chiasm_http_requests_total\{(.*?)\} (\S+)$", text, re.MULTILINE):
        found[json.loads("{" + re.sub(r"(\w+)=", r'"\1":', labels) + "}")["status"]] += int(float(value))
    return found


if __name__ == "__main__":
    sys.exit(main())
