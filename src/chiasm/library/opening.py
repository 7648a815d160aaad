"""A library of real media with a real model: in this process, or in the one that has it already."""

from collections.abc import Mapping

from chiasm.library.client import LibraryClient
from chiasm.library.cutting import MediaCutter
from chiasm.library.library import Library
from chiasm.library.makers import Maker
from chiasm.media import TextReader, can_read
from chiasm.preprocess import Embedder, Preprocessor
from chiasm.preprocess.late import Prepares, ServedModel
from chiasm.settings import Settings
from chiasm.stores import holder_of


def open_library(
    settings: Settings,
    embedder: Embedder,
    *,
    preprocessor: Prepares | None = None,
    others: Mapping[str, ServedModel] | None = None,
) -> Library:
    """The library of ``settings.library.data_dir``, whose lock the caller holds.

    Args:
        embedder: ``chiasm.load()``'s model, or a client of the engine.
        preprocessor: of that model, if there is one already (it may hear words in sound).
        others: further models by name, for stores that have chosen one; more may come.

    Raises:
        StoreError: the data directory cannot be used.
    """
    preparing = preprocessor or Preprocessor(embedder.description)
    reader = TextReader() if settings.library.ocr and can_read() else None

    def cutter(prepares: Prepares) -> MediaCutter:
        return MediaCutter(prepares, settings, reader=reader)

    def maker(name: str) -> Maker | None:
        other = (others or {}).get(name)
        if other is None:
            return None
        prepares = other.preprocessor
        return Maker(embedder=other.embedder, cutter=cutter(prepares), preprocessor=prepares)

    return Library(
        settings,
        embedder,
        cutter(preparing),
        preprocessor=preparing,
        others=maker,
    )


def connect(settings: Settings) -> LibraryClient | None:
    """A client of the process that holds ``settings.library.data_dir``; ``None`` if there is none."""
    holder = holder_of(settings.library.data_dir)
    return None if holder is None or holder.address is None else LibraryClient(holder.address)
