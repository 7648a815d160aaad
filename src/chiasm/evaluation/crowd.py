"""“Nothing relevant” among very many: names asked of a thousand, ten thousand and of all phrases.

An answer is right that says the name, in either language. A name is absent where no phrase says it or a name
that is near to it; hits are cut off as in a search.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chiasm.data.builders.glossary import Entry
from chiasm.evaluation.material import Evaluated, Vectors
from chiasm.evaluation.relevance import FIRST, NEAR
from chiasm.evaluation.report import Row, Target, measured
from chiasm.library.relevance import PASSAGE, Calibration, kind_of

ABSENT = 50
PRESENT = 100
SIZES = (1_000, 10_000)  # and all that there are


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """An entry of the glossary, and its names in English and Chinese as vectors [2, d]."""

    entry: Entry
    vectors: Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class _Library:
    texts: Sequence[str]
    vectors: Vectors
    calibration: Calibration

    def first(self, query: Vectors) -> tuple[list[int], list[bool]]:
        """The nearest, and which of them would be shown."""
        cosines = self.vectors @ query
        nearest = np.argsort(-cosines, kind="stable")[:FIRST]
        chances = self.calibration.probability(cosines[None, nearest], query[None], "text", "text")[0]
        least = self.calibration.cutoff("text", "text", len(self.texts))
        return nearest.tolist(), (chances >= least).tolist()


def crowded(
    group: str, model: Evaluated, entries: Sequence[Entry], texts: Sequence[str], vectors: Vectors
) -> list[Row]:
    """False returns, and hits kept, by size of the library.

    Args:
        entries: what names are drawn from.
        texts: n phrases.
        vectors: theirs [n, d].
    """
    order = np.random.default_rng(17).permutation(len(entries))
    absent = order[:ABSENT]
    names = model.embed([entry.en[0] for entry in entries])
    near = np.flatnonzero((names @ names[absent].T).max(axis=1) >= NEAR)
    present = np.setdiff1d(order[ABSENT : ABSENT + PRESENT], near)
    kept = [
        n
        for n, text in enumerate(texts)
        if kind_of("text", text) != PASSAGE and not any(_says(text, entries[int(i)]) for i in near)
    ]
    about = model.description
    calibration = Calibration.from_mapping(about.calibration, about.dimensions)
    strangers, known = (_asked(model, [entries[int(i)] for i in chosen]) for chosen in (absent, present))
    rows: list[Row] = []
    for size in (*(size for size in SIZES if size < len(kept)), len(kept)):
        own = kept[:size]
        library = _Library(texts=[texts[n] for n in own], vectors=vectors[own], calibration=calibration)
        rows += _measure(group, library, strangers, known)
    return rows


def _asked(model: Evaluated, entries: Sequence[Entry]) -> list[_Asked]:
    return [_Asked(entry=entry, vectors=model.embed([entry.en[0], entry.zh[0]])) for entry in entries]


def _measure(
    group: str, library: _Library, strangers: Sequence[_Asked], known: Sequence[_Asked]
) -> Iterator[Row]:
    yield measured(
        group,
        "names that nothing says, and that return anything",
        np.array([any(library.first(query)[1]) for asked in strangers for query in asked.vectors]),
        gallery=len(library.texts),
        baselines={"without a cut-off": 1.0},
        target=Target(most=0.10),
    )
    found, kept = [], []
    for asked in known:
        if not any(_says(text, asked.entry) for text in library.texts):
            continue
        for query in asked.vectors:
            nearest, shown = library.first(query)
            right = [_says(library.texts[n], asked.entry) for n in nearest]
            found.append(any(right))
            kept.append(any(r and s for r, s in zip(right, shown, strict=True)))
    had = np.array(found, bool)
    if had.any():
        yield measured(
            group,
            f"names that are found in the first {FIRST}, and kept",
            np.array(kept)[had],
            gallery=len(library.texts),
            baselines={f"found in {FIRST}": float(had.mean())},
            target=Target(least=0.80),
        )


def _says(text: str, entry: Entry) -> bool:
    words, name = f" {text.lower()} ", entry.en[0].lower()
    return entry.zh[0] in text or any(f" {name}{end}" in words for end in (" ", "s ", ",", "?"))
