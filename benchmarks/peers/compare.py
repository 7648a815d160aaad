"""chiasm, infinity and LitServe with the same CLIP ViT-B/32 on this machine, in turns; see ../README.md.

Each peer lives in a virtual environment of its own below ``--folder``, which is made when it is not there.
"""

import argparse
import base64
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from clip_folder import write

from chiasm.evaluation.speed.load import ENVIRONMENT, Stock
from chiasm.evaluation.speed.server import Server
from chiasm.evaluation.speed.subject import load_subject
from chiasm.evaluation.speed.traffic import Make, closed_loop, post

HERE = Path(__file__).resolve().parent
INFINITY = ("infinity-emb[server,torch,vision,optimum]==0.0.78", "transformers<5", "torch<2.9", "aiohttp")
LITSERVE = ("litserve==0.2.19", "transformers<5", "torch<2.9", "pillow")
TARGETS = {"infinity": {"pictures": 10.0, "texts": 2.0}, "litserve": {"pictures": 3.0, "texts": 2.0}}
START_SECONDS = 180.0


def main() -> int:
    """Make what is missing, take turns, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the peers' virtual environments")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--clients", type=int, default=16)
    wanted = parser.parse_args()
    stock = Stock(load_subject(None))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chiasm-peers-")))
        model = folder / "clip"
        write(model, [text for group in stock.groups for text in group])
        ours = stack.enter_context(Server(str(model), folder, environment=ENVIRONMENT))
        ours.first_embedding()
        infinity = stack.enter_context(_infinity(wanted.folder, folder, model))
        litserve = stack.enter_context(_litserve(wanted.folder, folder, model))
        images = [base64.b64encode(data).decode() for data in stock.jpegs]
        sides: dict[str, tuple[int, dict[str, Make]]] = {
            "chiasm": (ours.port, {"pictures": stock.picture, "texts": stock.texts}),
            "infinity": (infinity, {
                "pictures": _by_number([post("/embeddings", {
                    "model": "clip", "modality": "image", "encoding_format": "base64",
                    "input": [f"data:image/jpeg;base64,{one}"],
                }) for one in images]),
                "texts": _by_number([post("/embeddings", {
                    "model": "clip", "modality": "text", "encoding_format": "base64", "input": group,
                }) for group in stock.groups]),
            }),
            "litserve": (litserve, {
                "pictures": _by_number([post("/predict", {"images": [one]}) for one in images]),
                "texts": _by_number([post("/predict", {"texts": group}) for group in stock.groups]),
            }),
        }  # fmt: skip
        for name, (port, makes) in sides.items():
            for kind, make in makes.items():
                warmed = closed_loop(port, make, clients=wanted.clients, seconds=2.0)
                if len(warmed.with_status(200)) < len(warmed.answers):
                    wrong = next(answer for answer in warmed.answers if answer.status != 200)
                    raise SystemExit(f"{name} answers {kind} with {wrong.status}: {wrong.body[:300]!r}")
        speeds: dict[tuple[str, str], list[float]] = {}
        for _ in range(wanted.rounds):
            for name, (port, makes) in sides.items():
                for kind, make in makes.items():
                    traffic = closed_loop(port, make, clients=wanted.clients, seconds=wanted.seconds)
                    speeds.setdefault((name, kind), []).append(traffic.per_second())
    return _print(speeds, wanted)


def _print(speeds: dict[tuple[str, str], list[float]], wanted: argparse.Namespace) -> int:
    print(f"{wanted.clients} clients, {wanted.rounds} rounds of {wanted.seconds:g} s; requests a second")
    missed = 0
    for kind, size in (("pictures", "1 picture (JPEG 640x480)"), ("texts", "16 texts")):
        ours = np.array(speeds["chiasm", kind])
        print(f"{size} a request: chiasm {np.median(ours):.1f}")
        for peer, targets in TARGETS.items():
            theirs = np.array(speeds[peer, kind])
            ratio = float(np.median(ours / theirs)) if theirs.all() else float("nan")
            met = ratio >= targets[kind]
            missed += not met
            print(
                f"  {peer} {np.median(theirs):.1f}; chiasm is {ratio:.2f} x "
                f"({'met' if met else 'missed'}: at least {targets[kind]:g} x)"
            )
    return min(1, missed)


def _by_number(requests: Sequence[bytes]) -> Make:
    return lambda number: requests[number % len(requests)]


@contextmanager
def _infinity(venvs: Path, folder: Path, model: Path) -> Iterator[int]:
    python = _venv(venvs / "infinity", INFINITY)
    with _running(folder / "infinity.log", lambda port: [
        str(python.parent / "infinity_emb"), "v2", "--model-id", str(model), "--served-model-name", "clip",
        "--engine", "torch", "--device", "cpu", "--no-bettertransformer",
        "--no-model-warmup", "--batch-size", "32", "--host", "127.0.0.1", "--port", str(port),
        "--log-level", "warning",
    ]) as port:  # fmt: skip
        yield port


@contextmanager
def _litserve(venvs: Path, folder: Path, model: Path) -> Iterator[int]:
    python = _venv(venvs / "litserve", LITSERVE)
    server = str(HERE / "litserve_server.py")
    with _running(folder / "litserve.log", lambda port: [str(python), server, str(port), str(model)]) as port:
        yield port


def _venv(folder: Path, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


@contextmanager
def _running(log: Path, command: Callable[[int], list[str]]) -> Iterator[int]:
    """The port of a server that answers."""
    port = _free_port()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(log.parent), "DO_NOT_TRACK": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(port), stdout=out, stderr=out, env=environment, start_new_session=True
        )
    try:
        give_up = time.monotonic() + START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit(f"{command(port)[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield port
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
