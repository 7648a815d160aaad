"""Make library-vN.sql: the database of a small library, as the checked-out code keeps it.

Every schema version has one, made when it was new, and never again. Run from the repository's root:

    python tests/golden/make_library.py 2
"""

import sqlite3
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "library"))

from library_fakes import FakeEmbedder, cutter, put_item, settings_for, vector_of

from chiasm.library import Library


def make(version: str) -> None:
    """Every kind of row: a copied file, an upload, a reference, an item, a failure, several stores."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with Library(settings_for(data), FakeEmbedder(), cutter) as library:
            library.create_store("mine", attributes={"for": "tests"})
            library.create_store("empty")
            library.add_file("mine", b"red apple on a table", "apple.txt", {"year": 2024, "good": True})
            library.add_file("mine", b"VIDEO:white boat|blue sky", "boat.mp4", {"weight": 1.5})
            library.add_file("mine", b"BAD", "broken.bin")
            (Path(folder) / "note.txt").write_text("a note that stays where it is")
            library.add_file("mine", Path(folder) / "note.txt", mode="reference")
            put_item(library, "mine", vector_of("an item"), item_id="one", snippet="an item")
            library.upload_file(b"an upload in no store", "upload.txt")
            library.attach_files("mine", [library.upload_file(b"waits for its indexing", "waiting.txt").id])
        with sqlite3.connect(data / "library.sqlite") as database:
            dump = "\n".join(database.iterdump())
        database.close()
    (HERE / f"library-v{version}.sql").write_text(dump.replace(folder, "/somewhere") + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(sys.argv[1])
