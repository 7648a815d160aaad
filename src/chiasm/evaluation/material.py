"""What the suites share: the model, the corpus folder, and vectors that are computed once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.concepts import Concept, load_concepts
from chiasm.data.builders.icons import TEST_FAMILY, VALIDATION_FAMILY
from chiasm.data.builders.plan import Gallery
from chiasm.data.builders.sources import Sources
from chiasm.data.builders.views import plain_view
from chiasm.data.splits import held_out
from chiasm.errors import DataError
from chiasm.modality import Image
from chiasm.preprocess import ModelDescription

Split = Literal["test", "validation"]
Vectors = NDArray[np.float32]
SIDE = 192
"""Pixels of a drawing's side, as it is given to the model's own preprocessing."""


class Evaluated(Protocol):
    """What is measured: :class:`chiasm.inference.Model`, or anything that embeds as it does."""

    @property
    def description(self) -> ModelDescription:
        """The model's name, revision and calibration."""

    def embed(self, values: Sequence[object], *, dimensions: int | None = None) -> Vectors:
        """Unit vectors [n, d]."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """A model and the sets that it is measured on.

    Attributes:
        model: what is measured. data: folder made by ``chiasm data build``. sources: the raw packages.
        split: ``test`` is read once for a release; ``validation`` may be tuned on.
        photographs: folder of labelled photographs, if there is one.
        seed: of every sample. share: of every sample's usual size that is asked about, above 0 to 1;
            galleries stay whole.
    """

    model: Evaluated
    data: Path
    sources: Sources
    split: Split = "test"
    photographs: Path | None = None
    seed: int = 20261123
    share: float = 1.0
    _texts: dict[str, Vectors] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def concepts(self) -> list[Concept]:
        """The emoji concepts."""
        return load_concepts(self.sources)

    @cached_property
    def gallery(self) -> Gallery:
        """The drawings.

        Raises:
            DataError: the corpus has not been built.
        """
        folder = self.data / "pictures"
        if not folder.is_dir():
            raise DataError(
                f"expected the drawings in {folder}; run `chiasm data build mini`",
                f"{folder} 中应有图画；请先运行 `chiasm data build mini`",
                param="data",
            )
        return Gallery(folder)

    @property
    def family(self) -> str:
        """The drawing family of the split, none of whose pictures was trained on."""
        return TEST_FAMILY if self.split == "test" else VALIDATION_FAMILY

    @cached_property
    def drawings(self) -> "Drawings":
        """The split's drawings with their vectors."""
        return self.drawings_of(self.family)

    def drawings_of(self, family: str, rows: Sequence[int] | None = None) -> "Drawings":
        """Drawings of a family through the model; all of them without ``rows``."""
        wanted = range(len(self.gallery.labels[family])) if rows is None else rows
        chosen = np.asarray(wanted, dtype=np.int64)
        concept = np.array([self.gallery.concept(family, int(row)) for row in chosen])
        pictures = [plain_view(self.gallery.sprite(family, int(row)), SIDE) for row in chosen]
        unseen = np.array([held_out(self.concepts[c].name) for c in concept], dtype=bool)
        return Drawings(
            rows=chosen,
            concept=concept,
            unseen=unseen,
            vectors=self.model.embed([Image(p) for p in pictures]),
        )

    def names(self, language: str) -> list[str]:
        """The first name of each concept in ``en`` or ``zh``; some concepts may share one."""
        return [c.en[0] if language == "en" else c.zh[0] for c in self.concepts]

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, d] of texts; each is computed once."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if missing:
            self._texts.update(zip(missing, self.model.embed(missing), strict=True))
        return np.stack([self._texts[text] for text in texts])

    def labels(self, labels: Sequence[str], templates: Sequence[str]) -> Vectors:
        """Label vectors [m, d]: of each, the unit mean over the templates, as ``Model.classify`` does it."""
        mean = np.mean([self.texts([t.replace("{}", label) for label in labels]) for t in templates], axis=0)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), dtype=np.float32)

    def rng(self, what: str) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng([self.seed, *what.encode()])

    def sample(self, of: int, count: int, what: str) -> NDArray[np.int64]:
        """Sorted indices of a sample of ``count`` (times the share, at least 2) out of ``of``."""
        wanted = min(of, self.count(count))
        return np.sort(self.rng(what).permutation(of)[:wanted])

    def count(self, usual: int) -> int:
        """How many to take where ``usual`` are taken in full."""
        return max(2, round(usual * self.share))


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawings:
    """Drawings of one family [n]: rows in the gallery, concepts, whether these were held out, and vectors."""

    rows: NDArray[np.int64]
    concept: NDArray[np.int64]
    unseen: NDArray[np.bool_]
    vectors: Vectors


def distinct(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The different names in order, and the place of each given name among them."""
    place: dict[str, int] = {}
    column = [place.setdefault(name, len(place)) for name in names]
    return list(place), np.array(column, dtype=np.int64)
