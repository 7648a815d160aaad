"""The engine's heart: calls come in, batches are computed in one thread, answers go out."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import ChiasmError, DeadlineExceeded, Overloaded, RateLimited
from chiasm.observe.carried import Carried, carried, carrying
from chiasm.preprocess import PreparedItem
from chiasm.serving.batching import BatchingConfig, BatchQueue, Work
from chiasm.serving.cache import ResultCache
from chiasm.serving.errand import Errand
from chiasm.serving.messages import ErrorInfo, error_to_info
from chiasm.serving.observing import Answered
from chiasm.serving.packing import EmbedAnswer, bucket_of, to_payload
from chiasm.serving.served import Answerable, Served

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class _Job:
    """One call on its way: what is done and how much is left."""

    call: Answerable
    served: Served
    vectors: NDArray[np.float32]
    left: int
    arrival: float
    carried: Carried
    cached: int = 0
    inference: float = 0.0
    errors: dict[int, ErrorInfo] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    job: _Job
    index: int
    key: bytes
    item: PreparedItem

    @property
    def call(self) -> Answerable:
        return self.job.call

    @property
    def served(self) -> Served:
        return self.job.served


class EmbedLane:
    """Queues, batches and computes, in one thread. Thread-safe.

    A batch that fails is tried again item by item, so that a bad item fails alone. A call waits for company
    (``max_wait``) only while calls come side by side: one that comes alone, after another that came alone, is
    computed at once.

    Models are only ever called from the lane's thread; a batch is of one of them. What is asked for besides
    vectors (:meth:`perform`) is a batch by itself.

    Args:
        config: bounds of queue and batch.
        cache: results by content.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        config: BatchingConfig,
        cache: ResultCache,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue: BatchQueue[_Piece | Errand] = BatchQueue(config)
        self._cache = cache
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = False
        self._busy_since: float | None = None
        self._computing: Served | None = None
        self._company = False  # whether the last batch was of several calls
        self._counts: Counter[str] = Counter()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to compute, in a thread of its own."""
        threading.Thread(target=self.run, name="embed-lane", daemon=True).start()

    def run(self) -> None:
        """Compute in this thread, until :meth:`stop`."""
        try:
            while (works := self._next()) is not None:
                begun = self._clock()
                self._work_on([work.payload for work in works])
                with self._changed:
                    self._busy_since = self._computing = None
                    self._queue.observe(sum(work.cost for work in works), self._clock() - begun)
                    self._counts["batches"] += 1
        finally:
            self._ended.set()

    def stop(self, timeout: float | None = None) -> None:
        """Compute what is queued, then end; refuse what comes. Waits at most ``timeout`` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._ended.wait(timeout)

    def submit(
        self, call: Answerable, served: Served, items: Sequence[PreparedItem], keys: Sequence[bytes]
    ) -> None:
        """Take a call for a model; returns at once. The answer goes to ``call``.

        Raises:
            Overloaded: the queue is full, or the lane is stopping.
            RateLimited: the caller fills its share of the queue already.
        """
        now = self._clock()
        job = _Job(
            call=call,
            served=served,
            left=len(items),
            arrival=now,
            carried=carried(),
            vectors=np.zeros((len(items), served.dimensions), np.float32),
        )
        pieces = [
            _Piece(job=job, index=index, key=key, item=item)
            for index, (item, key) in enumerate(zip(items, keys, strict=True))
            if not self._from_cache(job, index, key, item)
        ]
        if not pieces:
            self._finish(job)
            return
        self._admit(
            call,
            [
                _work(call, piece, _bucket_of(served, piece.item), piece.item.cost, arrival=now)
                for piece in pieces
            ],
        )

    def perform(
        self,
        call: Answerable,
        served: Served,
        task: str,
        items: Sequence[PreparedItem],
        options: Mapping[str, Any],
    ) -> None:
        """Take a call for something else than vectors; as :meth:`submit`, which has the errors."""
        errand = Errand(
            call=call,
            served=served,
            task=task,
            items=items,
            options=options,
            arrival=self._clock(),
            carried=carried(),
        )
        bucket = f"{task}:{call.key}"
        self._admit(call, [_work(call, errand, bucket, errand.cost, arrival=errand.arrival)])

    def _admit(self, call: Answerable, works: Sequence[Work[_Piece | Errand]]) -> None:
        with self._changed:
            if self._stopping:
                raise Overloaded(
                    "the engine is shutting down", "推理引擎正在关闭", code="draining", retry_after=2.0
                )
            if self._queue.overfills(call.caller, sum(work.cost for work in works)):
                self._counts["refused"] += 1
                raise RateLimited(
                    "this key fills its share of the engine's queue already (engine.key_share)",
                    "此密钥已占满其在推理引擎队列中的份额（engine.key_share）",
                    code="queue_share_exceeded",
                    retry_after=self._queue.retry_after(),
                )
            if not self._queue.admit(works):
                self._counts["refused"] += 1
                raise Overloaded(
                    "the queue of the engine is full",
                    "推理引擎的队列已满",
                    code="queue_full",
                    retry_after=self._queue.retry_after(),
                )
            self._changed.notify()

    def cancel(self, key: Hashable) -> None:
        """The caller has left: forget what is not computed yet."""
        with self._changed:
            self._counts["cancelled"] += len(self._queue.cancel(key))

    def occupied(self, served: Served) -> bool:
        """Whether work for this model waits or is being computed."""
        with self._changed:
            return self._computing is served or self._queue.has(lambda payload: payload.served is served)

    def state(self) -> dict[str, Any]:
        """Queue length and cost, seconds that the present batch has been running, counts."""
        with self._changed:
            busy = 0.0 if self._busy_since is None else self._clock() - self._busy_since
            cache = self._cache.counts()
            counts = {**self._counts, "cache_hits": cache.hits, "cache_misses": cache.misses}
            return {
                "queue_length": len(self._queue),
                "queue_cost": self._queue.cost,
                "busy_seconds": busy,
                "draining": self._stopping,
                "counts": counts,
            }

    def _from_cache(self, job: _Job, index: int, key: bytes, item: PreparedItem) -> bool:
        vector = self._cache.get(key, job.served.revision)
        job.served.observer.looked_up(item, found=vector is not None)
        if vector is None:
            return False
        job.vectors[index] = vector
        job.cached += 1
        job.left -= 1
        return True

    def _next(self) -> tuple[Work[_Piece | Errand], ...] | None:
        while True:
            with self._changed:
                now = self._clock()
                batch = self._queue.take(now, hurry=self._stopping or not self._company)
                if batch.works:
                    self._busy_since = now
                    self._computing = batch.works[0].payload.served
                    self._company = len({work.group for work in batch.works}) > 1
                elif not batch.expired:
                    if self._stopping:
                        return None
                    self._changed.wait(self._queue.wait(now))
                    continue
                self._counts["expired"] += len(batch.expired)
            for call in {work.group: work.payload.call for work in batch.expired}.values():
                call.fail(
                    DeadlineExceeded("the deadline passed while this waited in the queue", "排队期间期限已过")
                )
            if batch.works:
                return batch.works

    def _work_on(self, payloads: Sequence[_Piece | Errand]) -> None:
        """One errand, or pieces that share a batch."""
        for errand in payloads:
            if isinstance(errand, Errand):
                self._run(errand)
        pieces = [payload for payload in payloads if isinstance(payload, _Piece)]
        if pieces:
            self._compute(pieces)

    def _run(self, errand: Errand) -> None:
        self._counts["calls"] += 1
        self._counts["items"] += len(errand.items)
        with carrying(errand.carried):
            try:
                errand.run(self._clock)
            except Exception as error:
                if not isinstance(error, ChiasmError):
                    logger.exception("%s failed", errand.task)
                self._counts["failed"] += 1
                errand.call.fail(error)

    def _compute(self, pieces: list[_Piece]) -> None:
        begun = self._clock()
        try:
            vectors = self._embed(pieces)
        except Exception as error:
            # Memory as much as a bad item may be the reason: single items need less of it, too.
            logger.warning("a batch of %d failed and is tried item by item", len(pieces), exc_info=error)
            for piece in pieces:
                with carrying(piece.job.carried):
                    self._compute_alone(piece)
            return
        seconds = self._clock() - begun
        for job in {id(piece.job): piece.job for piece in pieces}.values():
            job.inference += seconds
        for piece, vector in zip(pieces, vectors, strict=True):
            self._keep(piece, vector)

    def _compute_alone(self, piece: _Piece) -> None:
        job = piece.job
        begun = self._clock()
        try:
            if job.call.expired:
                raise DeadlineExceeded("the deadline passed before this was computed", "尚未计算，期限已过")
            vector = self._embed([piece])[0]
        except Exception as error:
            if not isinstance(error, ChiasmError):
                logger.exception("an item failed")
            self._counts["failed"] += 1
            job.errors[piece.index] = error_to_info(error)
            self._settle(job)
        else:
            job.inference += self._clock() - begun
            self._keep(piece, vector)

    def _embed(self, pieces: Sequence[_Piece]) -> NDArray[np.float32]:
        begun = self._clock()
        items = [piece.item for piece in pieces]
        served = pieces[0].job.served
        vectors = served.model.embed_prepared(items)
        served.observer.computed(items, self._clock() - begun)
        if vectors.shape != (len(pieces), served.dimensions) or not np.isfinite(vectors).all():
            raise ChiasmError(
                f"expected finite vectors of shape {[len(pieces), served.dimensions]}, "
                f"got {list(vectors.shape)} or values that are not finite",
                "模型给出的向量形状不符或含有非有限值",
            )
        return vectors

    def _keep(self, piece: _Piece, vector: NDArray[np.float32]) -> None:
        self._cache.put(piece.key, piece.job.served.revision, vector)
        piece.job.vectors[piece.index] = vector
        self._settle(piece.job)

    def _settle(self, job: _Job) -> None:
        job.left -= 1
        if job.left == 0:
            self._finish(job)

    def _finish(self, job: _Job) -> None:
        self._counts["calls"] += 1
        self._counts["items"] += len(job.vectors)
        waited = max(0.0, self._clock() - job.arrival - job.inference)
        answer = EmbedAnswer(job.errors, 1000 * waited, 1000 * job.inference, job.cached)
        job.call.reply(to_payload(answer), [job.vectors])
        job.served.observer.answered(
            Answered(
                carried=job.carried,
                items=len(job.vectors),
                cached=job.cached,
                failed=len(job.errors),
                queued=waited,
                computed=job.inference,
            )
        )


def _work(
    call: Answerable, payload: _Piece | Errand, bucket: str, cost: float, *, arrival: float
) -> Work[_Piece | Errand]:
    return Work(
        group=call.key,
        caller=call.caller,
        bucket=bucket,
        cost=cost,
        arrival=arrival,
        deadline=call.deadline,
        payload=payload,
    )


def _bucket_of(served: Served, item: PreparedItem) -> str:
    return f"{served.model.description.name}@{served.revision}:{bucket_of(item)}"
