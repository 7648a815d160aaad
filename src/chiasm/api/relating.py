"""How near two sides are: all cosines, and each pair's calibrated probability of relevance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from chiasm.api.context import state
from chiasm.api.model import Embedded, describe, embed, truncation, usage
from chiasm.api.parts import ItemSpec, check_parts
from chiasm.library import Calibration, kind_of
from chiasm.modality import key_of
from chiasm.preprocess import ModelDescription, PreparedItem


@dataclass(frozen=True, kw_only=True, eq=False)
class Related:
    """What :func:`relate` finds.

    Attributes:
        cosines, scores: float64 [queries, documents]; scores are probabilities in (0, 1).
        embedded: the queries and then the documents, as the model took them.
    """

    description: ModelDescription
    cosines: NDArray[np.float64]
    scores: NDArray[np.float64]
    embedded: Embedded

    @property
    def usage(self) -> dict[str, Any]:
        """What went into the model."""
        return usage(self.embedded.items, self.description)

    def truncated(self, index: int) -> dict[str, Any]:
        """``{"truncated": …}`` for the item (queries first) that was longer than the model reads."""
        cut = truncation(self.embedded.items[index])
        return {"truncated": cut} if cut else {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Unit vectors [n, d] and what each is of: a modality, or for documents a kind (see ``kind_of``)."""

    vectors: NDArray[np.float32]
    kinds: Sequence[str]

    @classmethod
    def of(cls, embedded: Embedded, specs: Sequence[ItemSpec], *, documents: bool) -> Self:
        """The side that ``specs`` gave."""
        modalities = [modality_of(item) for item in embedded.items]
        kinds = [kind_of(m, _text(spec)) for m, spec in zip(modalities, specs, strict=True)]
        return cls(vectors=embedded.vectors, kinds=kinds if documents else modalities)


def relate(model: str | None, queries: list[ItemSpec], documents: list[ItemSpec], param: str) -> Related:
    """Embed both sides in one go and compare each with each.

    Raises:
        TooLarge: more than ``limits.parts`` parts on both sides together; ``param`` is blamed.
        ChiasmError: the first input that is wrong, named; or the engine cannot answer.
    """
    limits = state().context.settings.limits
    check_parts(sum(len(spec.parts) for spec in (*queries, *documents)), param, limits)
    description = describe(model)
    embedded = embed([*queries, *documents], model)
    n = len(queries)
    left = Side.of(_part(embedded, 0, n), queries, documents=False)
    right = Side.of(_part(embedded, n, None), documents, documents=True)
    cosines = np.clip(left.vectors.astype(np.float64) @ right.vectors.T.astype(np.float64), -1.0, 1.0)
    scores = probabilities(left, right, cosines, calibration(description))
    return Related(description=description, cosines=cosines, scores=scores, embedded=embedded)


def probabilities(
    queries: Side, documents: Side, cosines: NDArray[np.float64], calibration: Calibration
) -> NDArray[np.float64]:
    """Each cosine [queries, documents] as the probability that the document is what was looked for."""
    scores = np.empty_like(cosines)
    rows, columns = np.array(queries.kinds), np.array(documents.kinds)
    for modality in set(queries.kinds):
        for kind in set(documents.kinds):
            block = np.ix_(rows == modality, columns == kind)
            vectors = queries.vectors[rows == modality]
            scores[block] = calibration.probability(cosines[block], vectors, modality, kind)
    return scores


def calibration(description: ModelDescription) -> Calibration:
    """The model's calibration, read once for each revision."""
    known = state().calibrations
    if description.revision not in known:
        known[description.revision] = Calibration.from_mapping(
            description.calibration, description.dimensions
        )
    return known[description.revision]


def modality_of(item: PreparedItem) -> str:
    """``text``, ``image``, ``audio``, ``video`` or ``mixed``."""
    return key_of(frozenset(part.modality for part in item.parts))


def _part(embedded: Embedded, start: int, stop: int | None) -> Embedded:
    return Embedded(items=embedded.items[start:stop], vectors=embedded.vectors[start:stop])


def _text(spec: ItemSpec) -> str | None:
    return next((part.value for part in spec.parts if part.kind == "text"), None)
