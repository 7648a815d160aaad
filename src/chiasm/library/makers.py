"""What a library makes vectors with: a model for each store that has chosen one."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from chiasm.errors import NotFound, StoreError
from chiasm.library.indexing import Cutter, Indexer
from chiasm.library.relevance import Calibration
from chiasm.preprocess import Embedder
from chiasm.preprocess.late import Prepares
from chiasm.stores import StoreRecord

NEUTRAL = Calibration()  # of vectors from elsewhere only their order can be told


@dataclass(frozen=True, kw_only=True, eq=False)
class Maker:
    """A model, and what gets things ready for it.

    Attributes:
        embedder: makes the vectors.
        cutter: cuts files into pieces; without one nothing can be indexed.
        preprocessor: prepares what is no file.
    """

    embedder: Embedder
    cutter: Cutter | None = None
    preprocessor: Prepares | None = None


class Makers:
    """The models of a library, by name. Thread-safe.

    Args:
        first: of stores that have chosen none; without it nothing can be indexed.
        others: finds a model by its name, if there is one.
        max_bytes: bound on one file.
    """

    def __init__(self, first: Maker | None, others: Callable[[str], Maker | None], *, max_bytes: int) -> None:
        self._first = first
        self._others = others
        self._max_bytes = max_bytes
        self._calibrations: dict[str, Calibration] = {}
        self._lock = threading.Lock()

    def find(self, name: str | None) -> Maker | None:
        """The model of this name, the first without one; ``None`` if there is no such model."""
        return self._first if name is None else self._others(name)

    def get(self, name: str | None) -> Maker:
        """As :meth:`find`.

        Raises:
            StoreError: there is no model at all.
            NotFound: there is none of this name.
        """
        maker = self.find(name)
        if maker is not None:
            return maker
        if name is None:
            raise StoreError("there is no model to index with", "没有可用于建立索引的模型", code="no_model")
        raise NotFound(
            f"there is no model {name!r}, which made this store; serve it with --model {name}=SOURCE, or "
            "re-embed the store with another",
            f"此库由模型 {name!r} 建立，但服务未提供该模型；请用 --model {name}=来源 提供，"
            "或用其他模型重建向量",
            param="model",
            code="model_not_found",
        )

    def indexer(self, name: str | None) -> Indexer:
        """Files → vectors of this model; raises as :meth:`get` does."""
        maker = self.get(name)
        if maker.cutter is None:
            raise StoreError("there is no model to index with", "没有可用于建立索引的模型", code="no_model")
        return Indexer(maker.embedder, maker.cutter, max_bytes=self._max_bytes)

    def calibration(self, store: StoreRecord) -> Calibration:
        """Of the model that made a store's vectors; of one that is not here only the order can be told."""
        revision = store.revision or ""
        with self._lock:
            known = self._calibrations.get(revision)
        if known is not None:
            return known
        maker = self.find(store.model)
        if maker is None or maker.embedder.description.revision != revision:
            return NEUTRAL
        about = maker.embedder.description
        made = Calibration.from_mapping(about.calibration, about.dimensions)
        with self._lock:
            return self._calibrations.setdefault(revision, made)
