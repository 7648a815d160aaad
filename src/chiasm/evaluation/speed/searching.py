"""Search in a library of 20,000 items: time beyond embedding the query, and recall against all cosines."""

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.glossary import load_glossary
from chiasm.data.builders.parallel import PhraseBook
from chiasm.evaluation.report import Row, Target, measured
from chiasm.evaluation.speed.subject import Subject
from chiasm.library import NewItem, open_library
from chiasm.library.library import Library
from chiasm.settings import Settings
from chiasm.stores import DataDirLock

GROUP = "searching"
ITEMS, QUERIES = 20_000, 300
K = 10
PUT_AT_ONCE = 500


def searching(subject: Subject) -> list[Row]:
    """Median milliseconds of a search by vector, and recall@10 against all cosines."""
    items, queries = subject.count(ITEMS, 200), subject.count(QUERIES, 20)
    texts = phrases(items + queries)
    vectors = subject.model.embed(texts)
    with tempfile.TemporaryDirectory(prefix="chiasm-bench-") as name:
        settings = Settings()
        library_settings = dataclasses.replace(settings.library, data_dir=Path(name) / "data")
        settings = dataclasses.replace(settings, library=library_settings)
        with DataDirLock(library_settings.data_dir), open_library(settings, subject.model) as library:
            store = library.ensure_store("bench").store.id
            for start in range(0, items, PUT_AT_ONCE):
                rows = vectors[start : min(start + PUT_AT_ONCE, items)]
                library.put_items(store, rows, [NewItem(id=str(start + i)) for i in range(len(rows))])
            return _measure(library, store, vectors[:items], vectors[items:])


def phrases(count: int) -> list[str]:
    """Different phrases of the grammar, English and Chinese in turn."""
    book = PhraseBook(load_glossary())
    rng = np.random.default_rng(5)
    found: dict[str, None] = {}
    while len(found) < count:
        phrase = book.template(rng)
        found[phrase.en if len(found) % 2 else phrase.zh] = None
    return list(found)


def exact_recall(found: NDArray[np.int64], cosines: NDArray[np.float32]) -> float:
    """The share of ``found`` [k] that is at least as near as the k-th nearest; equal cosines are as good."""
    if not len(found):
        return 0.0
    wanted = min(K, len(cosines))
    least = np.partition(cosines, -wanted)[-wanted]
    return float((cosines[found] >= least - 1e-3).sum() / wanted)  # the index keeps half precision


def _measure(
    library: Library, store: str, bank: NDArray[np.float32], queries: NDArray[np.float32]
) -> list[Row]:
    library.search(store, queries[0], "text", limit=K, threshold=0)  # opens the index
    taken, recall = [], []
    for query in queries:
        started = time.perf_counter()
        hits = library.search(store, query, "text", limit=K, threshold=0)
        taken.append(1000 * (time.perf_counter() - started))
        found = np.array([int(hit.item_id or -1) for hit in hits], dtype=np.int64)
        recall.append(exact_recall(found, bank @ query))
    median = float(np.median(taken))
    return [
        Row(
            group=GROUP,
            what="search by a vector, median",
            n=len(queries),
            gallery=len(bank),
            figure=median,
            low=float(np.quantile(taken, 0.025)),
            high=float(np.quantile(taken, 0.975)),
            target=Target(most=5.0),
            unit="ms",
        ),
        measured(
            GROUP,
            f"recall@{K} against all cosines",
            np.array(recall),
            gallery=len(bank),
            target=Target(least=0.98),
        ),
    ]
