"""The engine from the outside: what web workers and the library process hold instead of a model."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import ChiasmError, DeadlineExceeded, Overloaded
from chiasm.preprocess import ModelDescription, PreparedItem
from chiasm.preprocess.prepared import Performance
from chiasm.serving.departure import Departure
from chiasm.serving.messages import Payload, info_to_error
from chiasm.serving.packing import (
    EmbedAnswer,
    EngineStatus,
    ModelStanding,
    ModelStandings,
    PerformAnswer,
    from_payload,
    pack_items,
    pack_task,
)
from chiasm.serving.rpc import RpcClient
from chiasm.serving.wire import Array

ITEMS_PER_CALL = 256  # more are sent in several calls, so that others get their turn


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbedResult:
    """Unit vectors ``[n, d]``, milliseconds in the queue and on the device, how many came from the cache."""

    vectors: NDArray[np.float32]
    queue_ms: float
    inference_ms: float
    cached: int


@dataclass(frozen=True, kw_only=True)
class _About:
    """What goes along with the items of a call; see :meth:`EngineClient.embed_timed`."""

    deadline: float | None
    revision: str | None
    caller: str
    departure: Departure


class EngineClient:
    """An :class:`chiasm.preprocess.Embedder` whose model lives in another process.

    Thread-safe; works after a fork.

    Args:
        address: where the engine listens.
        timeout: seconds for an answer when the caller gives no deadline.
        connect_grace: seconds that a call waits for an engine that is not there.
    """

    def __init__(self, address: str, *, timeout: float = 60.0, connect_grace: float = 0.5) -> None:
        self._rpc = RpcClient(address, service="engine", connect_grace=connect_grace)
        self._timeout = timeout
        self._model = ""
        self._known: tuple[int, ModelDescription] | None = None

    def of(self, model: str) -> "EngineClient":
        """The same engine's model of this name, over the same connection."""
        other = copy.copy(self)
        other._model, other._known = model, None
        return other

    @property
    def description(self) -> ModelDescription:
        """The model's, which is loaded for it if need be; asked for again when the engine has restarted.

        Raises:
            NotFound: there is no such model.
            Overloaded: the engine is not there.
        """
        known = self._known
        if known is not None and known[0] == self._rpc.generation:
            return known[1]
        payload, _ = self._rpc.call("describe", {"model": self._model}, timeout=self._timeout)
        description = ModelDescription.from_bytes(payload["description"])
        if known is not None and known[1] == description:
            description = known[1]  # the same object: what hangs on it stays valid
        self._known = (self._rpc.generation, description)
        return description

    def embed_prepared(
        self, items: Sequence[PreparedItem], *, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Unit vectors ``[items, d]``; see :meth:`embed_timed`."""
        return self.embed_timed(items, deadline=deadline).vectors

    def embed_timed(
        self,
        items: Sequence[PreparedItem],
        *,
        deadline: float | None = None,
        revision: str | None = None,
        caller: str = "",
        departure: Departure | None = None,
    ) -> EmbedResult:
        """Embed and tell how long it took.

        Args:
            items: what to embed.
            deadline: ``time.time()`` after which the answer is of no use; the engine then drops the work.
            revision: of the model that the items were prepared for; without it, the present one.
            caller: for whom; the engine gives each a fair share.
            departure: of whoever waits for the answer; then the engine forgets what it has not computed yet.

        Raises:
            ChiasmError: an item failed; ``param`` is ``input[i]``.
            CallerLeft: nobody waits any more.
            RateLimited: the caller fills its share of the queue already.
            Overloaded: the queue is full, or the engine is not there or has another model now.
            DeadlineExceeded: no answer in time.
        """
        about = _About(
            deadline=deadline, revision=revision, caller=caller, departure=departure or Departure()
        )
        results = [
            self._embed(items[start : start + ITEMS_PER_CALL], start, about)
            for start in range(0, max(1, len(items)), ITEMS_PER_CALL)
        ]
        if len(results) == 1:
            return results[0]
        return EmbedResult(
            vectors=np.concatenate([result.vectors for result in results]),
            queue_ms=sum(result.queue_ms for result in results),
            inference_ms=sum(result.inference_ms for result in results),
            cached=sum(result.cached for result in results),
        )

    def perform(
        self,
        task: str,
        items: Sequence[PreparedItem],
        options: Mapping[str, Any],
        *,
        deadline: float | None = None,
        revision: str | None = None,
        caller: str = "",
        departure: Departure | None = None,
    ) -> Performance:
        """What a task makes of items, see :func:`chiasm.tasks.perform.perform`.

        The other arguments and the errors are those of :meth:`embed_timed`.
        """
        about = _About(
            deadline=deadline, revision=revision, caller=caller, departure=departure or Departure()
        )
        message = pack_task(task, items, options, self._revision(about), self._model)
        payload, arrays = self._ask("perform", message, about)
        answer: PerformAnswer = from_payload(payload, PerformAnswer)
        return Performance(
            about=answer.about, arrays=arrays, queue_ms=answer.queue_ms, inference_ms=answer.inference_ms
        )

    def status(self, *, timeout: float = 5.0) -> EngineStatus:
        """How the engine is doing.

        Raises:
            Overloaded: it is not there.
            DeadlineExceeded: it does not answer.
        """
        payload, _ = self._rpc.call("status", {}, timeout=timeout)
        status: EngineStatus = from_payload(payload, EngineStatus)
        return status

    def standings(self, *, timeout: float = 5.0) -> Sequence[ModelStanding]:
        """How the engine's models stand, the first one first; raises as :meth:`status` does."""
        payload, _ = self._rpc.call("models", {}, timeout=timeout)
        found: ModelStandings = from_payload(payload, ModelStandings)
        return found.models

    def close(self) -> None:
        """End the connection."""
        self._rpc.close()

    def __enter__(self) -> "EngineClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _embed(self, items: Sequence[PreparedItem], start: int, about: _About) -> EmbedResult:
        payload, arrays = self._ask("embed", pack_items(items, self._revision(about), self._model), about)
        answer: EmbedAnswer = from_payload(payload, EmbedAnswer)
        if answer.errors:
            index = min(answer.errors)
            raise info_to_error(answer.errors[index]).at(f"input[{start + index}]")
        if len(arrays) != 1 or len(arrays[0]) != len(items):
            raise ChiasmError("the engine sent an answer of another shape", "推理引擎返回的结果形状不符")
        return EmbedResult(
            vectors=arrays[0],
            queue_ms=answer.queue_ms,
            inference_ms=answer.inference_ms,
            cached=answer.cached,
        )

    def _revision(self, about: _About) -> str:
        return about.revision or self.description.revision

    def _ask(
        self, method: str, message: tuple[Payload, Sequence[Array]], about: _About
    ) -> tuple[Payload, list[Array]]:
        about.departure.expect_presence()
        timeout = self._timeout if about.deadline is None else about.deadline - time.time()
        if timeout <= 0:
            raise DeadlineExceeded("the deadline has passed already", "期限已过")
        try:
            call = self._rpc.start(method, *message, timeout=timeout, caller=about.caller)
            with about.departure.means(call.cancel):
                return call.result()
        except Overloaded as error:
            if error.code == "model_changed":
                self._known = None
            raise
