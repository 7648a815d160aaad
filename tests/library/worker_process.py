"""A library process whose model needs no engine."""

import sys
from dataclasses import replace
from pathlib import Path

from library_fakes import HashEmbedder

from chiasm import worker
from chiasm.settings import LibrarySettings, Settings


class NoEngine(HashEmbedder):
    def __init__(self, address):
        self.address = address

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


worker.EngineClient = NoEngine
sample = Path(sys.argv[3])
worker.sample_folder = lambda: sample
library = LibrarySettings(data_dir=Path(sys.argv[1]), watch=tuple(map(Path, sys.argv[4:])))
worker.run_worker(replace(Settings(), library=library), sys.argv[2], "ipc:///nowhere")
