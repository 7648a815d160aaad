"""Files → segments with vectors: decoding in a few threads ahead of the embedder, so that it never waits."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import ChiasmError, DeadlineExceeded, InvalidInput, Overloaded
from chiasm.preprocess import Embedder, PreparedItem
from chiasm.stores import FileRecord, Indexed, NewSegment
from chiasm.stores.files import hash_file
from chiasm.stores.records import Attribute, Box, Problem

T = TypeVar("T")
logger = logging.getLogger(__name__)

PIECES_AT_ONCE = 64
COST_AT_ONCE = 32.0
FILES_AT_ONCE = 64  # files without pieces (failed, or known content) that are committed together
GATHER_SECONDS = 2.0  # until what is ready is committed, however steadily more comes
CHECK_SECONDS = 0.2
COMPANY_SECONDS = 0.5  # that what is ready waits for more: slow files must not hold back quick ones
EMBEDDER_PATIENCE = 120.0  # seconds that an engine may take to come back


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """What gets one vector, and what its segment will say."""

    modality: str
    item: PreparedItem
    start: float | None = None
    end: float | None = None
    snippet: str | None = None
    page: int | None = None
    fingerprint: str | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A file, recognised; ``pieces`` decodes as it is walked. What a file is goes by its first piece (a video
    container may turn out to hold only sound). ``attributes`` are what it says of itself."""

    modality: str
    mime: str
    pieces: Iterable[Piece]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Cutter(Protocol):
    """Whatever cuts a file into pieces; called from several threads."""

    def __call__(self, path: Path) -> Cut:
        """Recognise the file by its content.

        Raises:
            ChiasmError: it cannot be indexed.
            OSError: it cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class Task:
    """A file to index; ``path`` tells where its bytes lie now, and may have to bring them there first.

    It raises a ``ChiasmError`` if they are gone. What is no file alone brings its own ``cut``, and keeps what
    is known of it.
    """

    file: FileRecord
    path: Callable[[], Path]
    attributes: Mapping[str, Attribute] | None = None
    folder: str | None = None
    item_id: str | None = None
    cut: Callable[[], Cut] | None = None

    def done(
        self, file: FileRecord, segments: Sequence[NewSegment], found: Mapping[str, Attribute]
    ) -> Indexed:
        """The outcome of a file that can be searched now; ``found`` is what it says of itself."""
        return Indexed(
            file=file,
            segments=segments,
            attributes=self.attributes,
            found=found,
            folder=self.folder,
            item_id=self.item_id,
        )

    def failed(self, problem: Problem) -> Indexed:
        """The outcome of a file that cannot."""
        return Indexed(
            file=self.file,
            problem=problem,
            attributes=self.attributes,
            folder=self.folder,
            item_id=self.item_id,
        )


@dataclass(kw_only=True)
class _Open:
    """A file some of whose pieces may still be on their way."""

    task: Task
    segments: list[NewSegment | None] = field(default_factory=list)
    waiting: int = 0
    outcome: Indexed | None = None  # set when its last piece was cut; segments still to be filled in
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class _End:
    """The last word of a decoding thread about a file."""

    outcome: Indexed


class Indexer:
    """Runs files through cutter and embedder.

    Args:
        embedder: makes the vectors.
        cutter: makes the pieces.
        max_bytes: bound on one file.
        threads: decoding threads.
    """

    def __init__(self, embedder: Embedder, cutter: Cutter, *, max_bytes: int, threads: int = 2) -> None:
        self._embedder = embedder
        self._cutter = cutter
        self._max_bytes = max_bytes
        self._threads = threads

    def run(
        self,
        tasks: Sequence[Task],
        *,
        reuse: Callable[[str], Sequence[NewSegment]] = lambda _: (),
        check: Callable[[], None] = lambda: None,
    ) -> Generator[list[Indexed], None, None]:
        """Outcomes, some at a time, in order of completion; to be committed as they come.

        Args:
            reuse: segments that are known already for content of this sha256; empty if it is new.
            check: called several times a second; may raise to stop.

        Raises:
            ChiasmError: the embedder stays away; what was yielded before stands.
        """
        feed = _Feed(self._read, iter(tasks), reuse, self._threads, check)
        pool = ThreadPoolExecutor(1, thread_name_prefix="embed")
        try:
            yield from self._consume(feed, pool)
        finally:
            feed.stop()
            pool.shutdown(wait=False, cancel_futures=True)  # who stops early wants no more vectors

    def _consume(self, feed: "_Feed", pool: ThreadPoolExecutor) -> Iterator[list[Indexed]]:
        # While one batch is embedded the next is gathered; while that is embedded, the first is committed.
        ahead: tuple[list[tuple[_Open, int, Piece]], Future[list[NDArray[np.float32] | Problem]]] | None = (
            None
        )
        while True:
            batch, finished = feed.gather()
            items = [piece.item for _, _, piece in batch]
            embedding = pool.submit(self._embed, items, feed.stopped) if batch else None
            if ahead is not None:
                finished = [*_settle(ahead[0], feed.wait_for(ahead[1])), *finished]
            if finished:
                yield finished
            if embedding is None and ahead is None and feed.exhausted:
                return
            ahead = (batch, embedding) if embedding is not None else None

    def _read(self, task: Task, reuse: Callable[[str], Sequence[NewSegment]]) -> Iterator[Piece | _End]:
        """Everything that one file gives; never raises."""
        try:
            file = task.file
            if task.cut is not None:
                yield from task.cut().pieces
                yield _End(outcome=task.done(file, (), {}))
                return
            path = task.path()
            if file.sha256 is None:
                stored = hash_file(path, max_bytes=self._max_bytes)
                file = replace(file, sha256=stored.sha256, bytes=stored.size)
            cut = self._cutter(path)
            file = replace(file, modality=cut.modality, mime=cut.mime)
            known = reuse(file.sha256 or "")
            first: str | None = known[0].modality if known else None
            for piece in () if known else cut.pieces:
                first = first or piece.modality
                yield piece
            if first is None:
                raise InvalidInput("expected something to index, got an empty file", "文件没有可索引的内容")
            file = replace(file, modality=first)
            yield _End(outcome=task.done(file, known, cut.attributes))
        except ChiasmError as error:
            yield _End(outcome=task.failed(Problem(code=error.code, en=error.en, zh=error.zh)))
        except OSError as error:
            reason = error.strerror or str(error)
            problem = Problem(code="unreadable", en=f"cannot be read: {reason}", zh=f"无法读取：{reason}")
            yield _End(outcome=task.failed(problem))
        except Exception:
            logger.exception("%s could not be indexed", task.file.path or task.file.id)
            problem = Problem(
                code="internal_error", en="an unexpected error; see the log", zh="意外错误，请查看日志"
            )
            yield _End(outcome=task.failed(problem))

    def _embed(
        self, items: Sequence[PreparedItem], stopped: threading.Event
    ) -> list[NDArray[np.float32] | Problem]:
        """A vector for each item, or why there is none: a bad item fails alone."""
        give_up = time.monotonic() + EMBEDDER_PATIENCE
        while True:
            try:
                return list(np.asarray(self._embedder.embed_prepared(items), np.float32))
            except (Overloaded, DeadlineExceeded) as error:
                if time.monotonic() > give_up or stopped.wait(min(error.retry_after or 0.5, 5.0)):
                    raise
            except InvalidInput as error:
                if len(items) == 1:
                    return [Problem(code=error.code, en=error.en, zh=error.zh)]
                return [self._embed([item], stopped)[0] for item in items]


class _Feed:
    """Decoding threads that fill a bounded queue."""

    def __init__(
        self,
        read: Callable[[Task, Callable[[str], Sequence[NewSegment]]], Iterator[Piece | _End]],
        tasks: Iterator[Task],
        reuse: Callable[[str], Sequence[NewSegment]],
        threads: int,
        check: Callable[[], None],
    ) -> None:
        self._read = read
        self._tasks = tasks
        self._reuse = reuse
        self._check = check
        self._checked_at = time.monotonic()
        self._queue: queue.Queue[tuple[_Open, Piece | _End] | None] = queue.Queue(2 * PIECES_AT_ONCE)
        self._next = threading.Lock()
        self.stopped = threading.Event()
        self._running = threads
        for number in range(threads):
            threading.Thread(target=self._work, name=f"decode-{number}", daemon=True).start()

    @property
    def exhausted(self) -> bool:
        """Whether everything there was has been gathered."""
        return self._running == 0

    def stop(self) -> None:
        """Let the threads end."""
        self.stopped.set()

    def wait_for(self, embedding: Future[T]) -> T:
        """Its result, once it is there."""
        while not wait([embedding], CHECK_SECONDS).done:
            self._check_now_and_then()
        return embedding.result()

    def gather(self) -> tuple[list[tuple[_Open, int, Piece]], list[Indexed]]:
        """Enough pieces for a batch (fewer when no more come soon), and the files that wait for no piece."""
        batch: list[tuple[_Open, int, Piece]] = []
        finished: list[Indexed] = []
        cost = 0.0
        started = alone = time.monotonic()
        while (
            self._running
            and len(batch) < PIECES_AT_ONCE
            and cost < COST_AT_ONCE
            and len(finished) < FILES_AT_ONCE
        ):
            self._check_now_and_then()
            now = time.monotonic()
            if now - alone >= COMPANY_SECONDS or now - started >= GATHER_SECONDS:
                break
            try:
                got = self._queue.get(timeout=CHECK_SECONDS)
            except queue.Empty:
                continue
            alone = time.monotonic()
            if got is None:
                self._running -= 1
                continue
            opened, what = got
            if isinstance(what, _End):
                opened.outcome = what.outcome
                finished += _if_complete(opened)
            else:
                batch.append((opened, len(opened.segments), what))
                opened.segments.append(None)
                opened.waiting += 1
                cost += what.item.cost
        return batch, finished

    def _check_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._checked_at >= CHECK_SECONDS:
            self._check()
            self._checked_at = now

    def _work(self) -> None:
        while not self.stopped.is_set():
            with self._next:
                task = next(self._tasks, None)
            if task is None:
                break
            opened = _Open(task=task)
            for what in self._read(task, self._reuse):
                if not self._put((opened, what)):
                    return
        self._put(None)

    def _put(self, what: tuple[_Open, Piece | _End] | None) -> bool:
        while not self.stopped.is_set():
            try:
                self._queue.put(what, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def _settle(
    batch: Sequence[tuple[_Open, int, Piece]], vectors: list[NDArray[np.float32] | Problem]
) -> Iterator[Indexed]:
    for (opened, position, piece), vector in zip(batch, vectors, strict=True):
        opened.waiting -= 1
        if isinstance(vector, Problem):
            opened.problem = vector
        else:
            opened.segments[position] = NewSegment(
                modality=piece.modality,
                vector=vector,
                start=piece.start,
                end=piece.end,
                snippet=piece.snippet,
                page=piece.page,
                fingerprint=piece.fingerprint,
                box=piece.box,
            )
        yield from _if_complete(opened)


def _if_complete(opened: _Open) -> Iterator[Indexed]:
    outcome = opened.outcome
    if outcome is None or opened.waiting:
        return
    if outcome.problem is not None:
        yield outcome
    elif opened.problem is not None:
        yield opened.task.failed(opened.problem)
    elif opened.segments:
        yield replace(outcome, segments=[segment for segment in opened.segments if segment is not None])
    else:
        yield outcome
