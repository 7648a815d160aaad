"""Reads the words in pictures in a process of its own: onnxruntime does not get on with every library that is
loaded beside it, and a crash or a slow picture harms nobody. Run as a script; it imports nothing of chiasm.

In come pictures: width, height (4 bytes each, big-endian), then RGB. Out come records, each a length and that
much JSON: first ``[]`` when the models are loaded, then for each picture a list of ``[text, score,
[left, top, right, bottom]]`` in pixels. It ends with its input, or when nothing has come for a while.
"""

import json
import os
import select
import struct
import sys
from typing import Any, BinaryIO


def main() -> int:
    """Take the order from the command line: ``{"side", "long", "lines", "threads", "memory", "idle"}``."""
    order = json.loads(sys.argv[1])
    confine(order["memory"])
    with os.fdopen(os.dup(1), "wb") as out, open(0, "rb", buffering=0) as source:
        os.dup2(2, 1)  # whatever the libraries print
        engine = load(order)
        write(out, [])
        while select.select([source], [], [], order["idle"])[0]:
            head = take(source, 8)
            if len(head) < 8:
                break
            width, height = struct.unpack(">II", head)
            write(out, lines(engine, width, height, take(source, 3 * width * height)))
    return 0


def confine(memory: int) -> None:
    """Bound this process: bytes of memory, no core file, nothing written to disk."""
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def load(order: dict[str, Any]) -> Any:
    """The models that come with the package."""
    from rapidocr import RapidOCR  # noqa: PLC0415 - once this process is confined

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.max_side_len": order["side"],
            "EngineConfig.onnxruntime.intra_op_num_threads": order["threads"],
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_side_len": order["long"],
            "Det.limit_type": "max",
            "Det.max_candidates": order["lines"],
        }
    )


def lines(engine: Any, width: int, height: int, pixels: bytes) -> list[Any]:
    """What is written in one picture."""
    import numpy as np  # noqa: PLC0415 - as above

    picture = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    found = engine(np.ascontiguousarray(picture[:, :, ::-1]))  # as OpenCV has it: blue first
    if found.boxes is None:
        return []
    corners = np.asarray(found.boxes, float)  # [n, 4, 2]
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).tolist()
    return [list(line) for line in zip(found.txts, map(float, found.scores), boxes, strict=True)]


def take(source: BinaryIO, size: int) -> bytes:
    """So many bytes; fewer at the end."""
    taken = bytearray()
    while len(taken) < size and (piece := source.read(min(size - len(taken), 1 << 20))):
        taken += piece
    return bytes(taken)


def write(out: BinaryIO, record: list[Any]) -> None:
    """One record."""
    body = json.dumps(record).encode("ascii")
    out.write(struct.pack(">I", len(body)) + body)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
