"""Search in 20,000 and 100,000 items: time beyond embedding the query, and recall against all cosines."""

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.glossary import load_glossary
from chiasm.data.builders.parallel import PhraseBook
from chiasm.evaluation.crowd import crowded
from chiasm.evaluation.report import Row, Target, measured
from chiasm.evaluation.speed.subject import Subject
from chiasm.library import NewItem, open_library
from chiasm.library.library import Library
from chiasm.settings import Settings
from chiasm.stores import DataDirLock

GROUP = "searching"
ITEMS, LARGE_ITEMS, QUERIES = 20_000, 100_000, 300
SETTLING_SECONDS = 120
K = 10
PUT_AT_ONCE = 500


def searching(subject: Subject) -> list[Row]:
    """Median milliseconds of a search by vector, and recall@10 against all cosines."""
    items = subject.count(ITEMS, 200)
    return _searched(subject, GROUP, *_embedded(subject, items), items=items, shares={"": 1.0})


def large(subject: Subject) -> list[Row]:
    """The same in five times as many, and where filters leave a half, a twentieth, a thousandth of them; and
    what is found there that is not."""
    shares = {
        "": 1.0,
        " under a filter of 50 %": 0.5,
        " under one of 5 %": 0.05,
        " under one of 0.1 %": 0.001,
    }
    items = subject.count(LARGE_ITEMS, 1000)
    texts, vectors = _embedded(subject, items)
    things = PhraseBook(load_glossary()).things
    return [
        *_searched(subject, "large", texts, vectors, items=items, shares=shares),
        *crowded("large", subject.model, things, texts[:items], vectors[:items]),
    ]


def _embedded(subject: Subject, items: int) -> tuple[list[str], NDArray[np.float32]]:
    """Items and after them queries."""
    texts = phrases(items + subject.count(QUERIES, 20))
    return texts, subject.model.embed(texts)


def _searched(
    subject: Subject,
    group: str,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    *,
    items: int,
    shares: Mapping[str, float],
) -> list[Row]:
    ranks = np.random.default_rng(31).permutation(items)  # what filters go by says nothing about the content
    with tempfile.TemporaryDirectory(prefix="chiasm-bench-") as name:
        settings = Settings()
        library_settings = dataclasses.replace(settings.library, data_dir=Path(name) / "data")
        settings = dataclasses.replace(settings, library=library_settings)
        with DataDirLock(library_settings.data_dir), open_library(settings, subject.model) as library:
            store = library.ensure_store("bench").store.id
            for start in range(0, items, PUT_AT_ONCE):
                rows = vectors[start : min(start + PUT_AT_ONCE, items)]
                numbers = range(start, start + len(rows))
                library.put_items(
                    store, rows, [NewItem(id=str(i), attributes={"rank": int(ranks[i])}) for i in numbers]
                )
            # what has just been opened builds its graph behind the searches
            library.search(store, vectors[-1], "text", limit=K, threshold=0)
            time.sleep(subject.count(SETTLING_SECONDS * items // LARGE_ITEMS, 0))
            return [
                row
                for what, share in shares.items()
                for row in _measure(library, store, vectors, ranks, kind=_Kind(group, what, share))
            ]


@dataclasses.dataclass(frozen=True)
class _Kind:
    group: str
    what: str
    share: float


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
    library: Library,
    store: str,
    vectors: NDArray[np.float32],
    ranks: NDArray[np.int64],
    *,
    kind: _Kind,
) -> list[Row]:
    bank, queries = vectors[: len(ranks)], vectors[len(ranks) :]
    below = round(kind.share * len(bank))
    filters = None if kind.share == 1 else {"type": "lt", "key": "rank", "value": below}
    allowed = np.flatnonzero(ranks < below)
    place = np.full(len(bank), -1)
    place[allowed] = np.arange(len(allowed))
    candidates = bank[allowed]
    taken, found = [], []
    for query in queries:
        started = time.perf_counter()
        hits = library.search(store, query, "text", limit=K, threshold=0, filters=filters)
        taken.append(1000 * (time.perf_counter() - started))
        found.append(place[[int(hit.item_id or -1) for hit in hits]])
    # only now: comparing with all of them would have emptied the processor's caches between the searches
    recall = [exact_recall(one, candidates @ query) for one, query in zip(found, queries, strict=True)]
    return [
        Row(
            group=kind.group,
            what=f"search by a vector{kind.what}, median",
            n=len(queries),
            gallery=len(bank),
            figure=float(np.median(taken)),
            low=float(np.quantile(taken, 0.025)),
            high=float(np.quantile(taken, 0.975)),
            target=Target(most=5.0),
            unit="ms",
        ),
        measured(
            kind.group,
            f"recall@{K} against all cosines{kind.what}",
            np.array(recall),
            gallery=len(bank),
            target=Target(least=0.98),
        ),
    ]
