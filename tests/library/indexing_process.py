"""Indexes the folder it is given, slowly; notes every text that it embeds."""

import sys
import time
from pathlib import Path

from library_fakes import FakeEmbedder, cutter, settings_for

from chiasm.library import Library

data_dir, folder, notes = (Path(argument) for argument in sys.argv[1:4])


class SlowEmbedder(FakeEmbedder):
    def embed_prepared(self, items, *, deadline=None):
        time.sleep(0.05)
        vectors = super().embed_prepared(items)
        with notes.open("a") as out:
            out.writelines(f"{text}\n" for text in self.seen)
        self.seen.clear()
        return vectors


with Library(settings_for(data_dir), SlowEmbedder(), cutter) as library:
    library.ensure_store("mine")
    report = library.index_folder("mine", folder)
    print(report.added, report.unchanged)
