"""A server at work for ten minutes: do memory, descriptors and threads stay what they were? See README.md.

Texts, pictures, searches, items that come and go, requests that are wrong. What was used in the second sixth
of the time (the first is for caches and allocators to fill) is compared with the last.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np

from chiasm.evaluation.speed.processes import Usage
from chiasm.evaluation.speed.searching import phrases
from chiasm.evaluation.speed.server import Server, image_part
from chiasm.evaluation.speed.subject import jpeg
from chiasm.evaluation.speed.traffic import Make, closed_loop, post, request

SAMPLE_SECONDS = 5.0
SIXTHS = 6
TOLERANCE = 0.02
MEASURES = ("rss", "descriptors", "threads")  # not PSS: it depends on what else runs on the machine
ENVIRONMENT = {"CHIASM_LIBRARY_SAMPLE": "false", "CHIASM_LIBRARY_OCR": "false"}


def requests_of(store: str) -> Make:
    """Requests by number: of twelve, what they are and in which turn."""
    texts = phrases(2000)
    pictures = [jpeg(np.random.default_rng([23, number])) for number in range(64)]
    search = f"/v1/vector_stores/{store}/search"

    def make(number: int) -> bytes:
        kind, which = number % 12, number // 12
        text, picture = texts[which % len(texts)], pictures[which % len(pictures)]
        item = f"/v1/vector_stores/{store}/items/item-{which % 500}"
        if kind < 3:
            return post("/v1/embeddings", {"input": texts[which % 1900 : which % 1900 + 16]})
        if kind < 5:
            return post("/v1/embeddings", {"input": [image_part(picture)]})
        if kind < 8:
            return post(search, {"query": text})
        if kind == 8:
            return post(search, {"query": image_part(picture)})
        if kind == 9:
            return request("PUT", item, {"content": image_part(picture), "attributes": {"n": which}})
        if kind == 10:
            return request("DELETE", item)
        return post(search, {"query": text, "filters": {"type": "never"}})

    return make


def main() -> int:
    """Run, print, and tell whether all stayed within bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--model", default=None, help="as for chiasm serve")
    wanted = parser.parse_args()
    seconds = 60 * wanted.minutes
    with (
        tempfile.TemporaryDirectory(prefix="chiasm-soak-") as name,
        Server(wanted.model, Path(name), environment=ENVIRONMENT) as server,
    ):
        server.first_embedding()
        store = _made(server.port)
        samples: list[Usage] = []
        over = threading.Event()
        sampler = threading.Thread(target=_sample, args=(server, samples, over))
        sampler.start()
        traffic = closed_loop(server.port, requests_of(store), clients=wanted.clients, seconds=seconds)
        over.set()
        sampler.join()
    statuses = Counter(answer.status for answer in traffic.answers)
    shown = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    print(f"{len(traffic.answers)} requests in {traffic.seconds:.0f} s, by status: {shown}")
    return _judge(samples) + any(status == 0 or status >= 500 for status in statuses)


def _made(port: int) -> str:
    """The id of a new store."""
    once = closed_loop(port, lambda _: post("/v1/vector_stores", {"name": "soak"}), clients=1, seconds=0.0001)
    return str(json.loads(once.answers[0].body)["id"])


def _sample(server: Server, samples: list[Usage], over: threading.Event) -> None:
    while not over.wait(SAMPLE_SECONDS):
        samples.append(server.usage())


def _judge(samples: list[Usage]) -> int:
    sixth = max(1, len(samples) // SIXTHS)
    early, late = samples[sixth : 2 * sixth] or samples, samples[-sixth:]
    failures = 0
    for measure in MEASURES:
        before, after = (float(np.median([asdict(one)[measure] for one in part])) for part in (early, late))
        growth = after / before - 1
        unit, shown = (" MB", 1e6) if measure == "rss" else ("", 1.0)
        fine = growth <= TOLERANCE
        failures += not fine
        print(
            f"{measure}: {before / shown:.1f}{unit} -> {after / shown:.1f}{unit}, {growth:+.1%} "
            f"({'met' if fine else 'missed'}: at most {TOLERANCE:+.0%}), {len(samples)} samples"
        )
    return failures


if __name__ == "__main__":
    started = time.perf_counter()
    code = min(1, main())
    print(f"took {time.perf_counter() - started:.0f} s")
    sys.exit(code)
