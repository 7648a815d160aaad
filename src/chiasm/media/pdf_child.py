"""Reads one PDF in a process of its own, where a crash or a bomb harms nobody. Run as a script; it imports
nothing of chiasm, so that it starts in a tenth of a second.

The PDF is standard input. Out come records, each a length (4 bytes, big-endian), that much JSON, and, where
the JSON has a width and a height, width x height x 3 bytes of RGB: first ``{"pages"}``, then a
``{"page", "text", "width", "height"}`` for each page that can be read, and ``{"done"}``; or ``{"error"}``.
"""

import json
import os
import struct
import sys
from typing import Any, BinaryIO

PASSWORD = 4  # FPDF_ERR_PASSWORD


def main() -> int:
    """Take the order from the command line: ``{"first", "last", "side", "chars", "memory", "seconds"}``."""
    order = json.loads(sys.argv[1])
    confine(order["memory"], order["seconds"])
    with os.fdopen(os.dup(1), "wb") as out, open(0, "rb") as source:
        read(source, order, out)
    return 0


def confine(memory: int, seconds: int) -> None:
    """Bound this process: bytes of memory, seconds of computing, no core file, nothing written to disk."""
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def read(source: BinaryIO, order: dict[str, Any], out: BinaryIO) -> None:
    """Write the records of the pages ``first`` to ``last``."""
    import pypdfium2  # noqa: PLC0415 - once this process is confined

    try:
        document = pypdfium2.PdfDocument(source)
        count = len(document)
    except pypdfium2.PdfiumError as error:
        write(out, {"error": "password" if error.err_code == PASSWORD else "damaged"})
        return
    write(out, {"pages": count})
    for number in range(order["first"], min(order["last"], count) + 1):
        try:
            page = document[number - 1]
            text = text_of(page, order["chars"])
            width, height, pixels = picture_of(page, order["side"])
        except pypdfium2.PdfiumError:
            continue  # a damaged page; the others can still be read
        write(out, {"page": number, "text": text, "width": width, "height": height}, pixels)
        page.close()
    write(out, {"done": True})


def text_of(page: Any, most: int) -> str:
    """The page's text, at most so many characters."""
    found = page.get_textpage()
    try:
        return str(found.get_text_range(0, min(found.count_chars(), most)))[:most]
    finally:
        found.close()


def picture_of(page: Any, side: int) -> tuple[int, int, bytes]:
    """Width, height and RGB of the page whose longer side is ``side``; nothing where ``side`` is 0."""
    width, height = page.get_size()
    if not side or not (0 < width < 1e6 and 0 < height < 1e6):
        return 0, 0, b""
    bitmap = page.render(scale=side / max(width, height), rev_byteorder=True, prefer_bgrx=False)
    rows = bitmap.to_numpy()
    return bitmap.width, bitmap.height, rows[:, :, :3].tobytes()


def write(out: BinaryIO, record: dict[str, Any], pixels: bytes = b"") -> None:
    """One record."""
    head = json.dumps(record).encode("ascii")
    out.write(struct.pack(">I", len(head)) + head + pixels)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
