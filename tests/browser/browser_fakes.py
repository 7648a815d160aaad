"""A model that sees colours, hears pitch and reads two languages: enough for a page to be used in earnest."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chiasm.errors import NotFound, Overloaded
from chiasm.jobs import JobRecord
from chiasm.library import Library, StoreInfo
from chiasm.modality import Audio, Image, Item, Part, Text, Video
from chiasm.preprocess import ModelDescription, PreparedItem, PreparedPart
from chiasm.serving.registry import Registry
from chiasm.settings import NamedSource
from chiasm.stores import Page

DIMENSIONS = 64
CHINESE = {"红": "red", "绿": "green", "蓝": "blue", "苹果": "apple", "高音": "high", "低音": "low"}
COLOURS = ("red", "green", "blue")
CALIBRATION = {"pairs": {"default": {"cosine": 20.0, "bias": -10.0, "cutoff": 0.5}}}


def words_of(part: Part) -> list[str]:
    """What the model makes of a part."""
    match part:
        case Text(text=text):
            chinese = [english for word, english in CHINESE.items() if word in text]
            return chinese + [word for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 2]
        case Image(pixels=pixels):
            return [COLOURS[int(pixels.reshape(-1, 3).mean(0).argmax())]]
        case Video(frames=frames):
            return [COLOURS[int(frames.reshape(-1, 3).mean(0).argmax())], "moving"]
        case Audio():
            crossings = np.abs(np.diff(np.signbit(part.samples))).mean() * part.rate / 2
            return ["high" if crossings > 800 else "low"]


class FakePreprocessor:
    """Keeps the words as token ids."""

    def __init__(self) -> None:
        self.heard: list[Audio] = []

    def prepare(self, item: Item) -> PreparedItem:
        self.heard += [part for part in item.parts if isinstance(part, Audio)]
        return PreparedItem(
            tuple(
                PreparedPart(part.modality, {"token_ids": _ids(" ".join(words_of(part)))}, 0, 0.1)
                for part in item.parts
            )
        )


class FakeEmbedder:
    """A vector is the sum of its words' random vectors."""

    def __init__(self, name: str = "fake-model") -> None:
        self.description = ModelDescription(
            name=name,
            revision=f"r-{name}",
            dimensions=DIMENSIONS,
            licence="Apache-2.0",
            languages=("en", "zh"),
            calibration=CALIBRATION,
        )

    def embed_prepared(self, items: Sequence[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        return np.stack([_vector(item) for item in items])


class BackgroundLibrary(Library):
    """Indexes uploaded files in a thread, so that the page has something to wait for.

    Attributes:
        jobs: what it says that it is doing.
        starting: whether it answers as one that is not there yet.
    """

    def __init__(self, *arguments: Any, registry: Registry, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._registry = registry
        self.jobs: list[JobRecord] = []
        self.starting = False
        self._threads: list[threading.Thread] = []

    def list_stores(self, **cursor: Any) -> Page[StoreInfo]:
        if self.starting:
            raise Overloaded("the library is not there yet; try again", "资料库尚未就绪，请重试")
        return super().list_stores(**cursor)

    def submit_add_files(self, store: str, file_ids: Sequence[str]) -> JobRecord:
        work = threading.Thread(target=self.add_files, args=(store, file_ids))
        self._threads.append(work)
        work.start()
        return JobRecord(id="job_1", name="add_files", status="running", params={})

    def list_jobs(self, *, limit: int = 50, offset: int = 0) -> list[JobRecord]:
        return self.jobs[offset : offset + limit]

    def submit_index_folder(self, store: str, folder: Path | str) -> JobRecord:
        raise NotFound("expected no folder here", "此处不接受文件夹")

    def submit_batch(self, params: Mapping[str, Any]) -> JobRecord:
        raise NotFound("expected no batch here", "此处不接受批次")

    def submit_reembed(self, store: str, model: str | None) -> JobRecord:
        def work(tell: Callable[[int, int], None]) -> None:
            self.reembed(store, model, tell)

        store_id = self.get_store(store).store.id
        return self._begin("reembed", {"store": store_id, "model": model}, work)

    def submit_pull(self, name: str, source: str) -> JobRecord:
        def work(tell: Callable[[int, int], None]) -> None:
            for done in range(0, 101, 20):
                tell(done * 1_000_000, 100_000_000)
                time.sleep(0.2)
            self._registry.add(NamedSource(name=name, source=source))

        return self._begin("pull_model", {"name": name, "source": source}, work)

    def _begin(
        self, name: str, params: dict[str, Any], work: Callable[[Callable[[int, int], None]], None]
    ) -> JobRecord:
        job = JobRecord(id=f"job_{len(self.jobs) + 2}", name=name, status="running", params=params)

        def tell(done: int, total: int) -> None:
            self._renew(replace(self.get_job(job.id), done=done, total=total))

        def run() -> None:
            work(tell)
            self._renew(replace(self.get_job(job.id), status="completed"))

        self.jobs = [job, *self.jobs]
        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()
        return job

    def _renew(self, job: JobRecord) -> None:
        self.jobs = [job if job.id == known.id else known for known in self.jobs]

    def get_job(self, job_id: str) -> JobRecord:
        for job in self.jobs:
            if job.id == job_id:
                return job
        raise NotFound("there is no such job", "没有这个任务")

    cancel_job = get_job

    def delete_job(self, job_id: str) -> None:
        self.jobs = [job for job in self.jobs if job.id != job_id]

    def finish(self) -> None:
        for thread in self._threads:
            thread.join()


def _ids(words: str) -> np.ndarray:
    return np.frombuffer((words or "nothing").encode(), np.uint8).astype(np.int32)


def _vector(item: PreparedItem) -> np.ndarray:
    total = np.full(DIMENSIONS, 1e-3, np.float32)
    for part in item.parts:
        for word in bytes(part.arrays["token_ids"].astype(np.uint8)).decode().split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
            total += np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
    return total / np.linalg.norm(total)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The server under test."""

    url: str
    library: Library
    preprocessor: FakePreprocessor
