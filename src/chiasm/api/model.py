"""Calls to the model: which one answers, how long it took, and what went in."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from flask import Flask, Response, g
from numpy.typing import NDArray

from chiasm.api.admission import caller, spending
from chiasm.api.context import context
from chiasm.api.costs import amounts_of
from chiasm.api.inputs import deadline, departure, prepare, seconds_left
from chiasm.api.parts import ItemSpec
from chiasm.api.ports import ModelApi
from chiasm.errors import ChiasmError, InvalidInput, NotFound
from chiasm.preprocess import Embedder, ModelDescription, PreparedItem, Preprocessor
from chiasm.preprocess.late import LatePreprocessor, Prepares
from chiasm.preprocess.prepared import Performance, Performer, expect_whole
from chiasm.serving.departure import Departure

_ENGINE_PARAM = re.compile(r"input\[(\d+)\](.*)", re.DOTALL)


class _Timed(Protocol):
    """What the engine's client tells besides the vectors."""

    @property
    def vectors(self) -> NDArray[np.float32]: ...
    @property
    def queue_ms(self) -> float: ...
    @property
    def inference_ms(self) -> float: ...


@runtime_checkable
class TimedEmbedder(Protocol):
    """An embedder in another process, which has a queue."""

    def embed_timed(
        self,
        items: Sequence[PreparedItem],
        *,
        deadline: float | None = None,
        caller: str = "",
        departure: Departure | None = None,
    ) -> _Timed:
        """Vectors, and milliseconds in the queue and on the device."""


@dataclass(frozen=True, kw_only=True, eq=False)
class First:
    """The first model."""

    embedder: Embedder
    preprocessor: Prepares


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Items as the model took them, and their unit vectors ``[items, d]``."""

    items: Sequence[PreparedItem]
    vectors: NDArray[np.float32]


def served(name: str | None) -> ModelApi:
    """The model that ``name`` means; nothing and ``"default"`` mean the first that is served.

    Raises:
        NotFound: no such model.
        Overloaded: the engine is not there.
    """
    ready = context()
    if name in {None, "", "default"}:
        return First(embedder=ready.embedder, preprocessor=ready.preprocessor)
    if name in ready.others:
        return ready.others[name]
    first = ready.embedder.description.name
    if name == first:
        return First(embedder=ready.embedder, preprocessor=ready.preprocessor)
    there = [first, *ready.others]
    raise NotFound(
        f"there is no model {name[:100] if name else name!r}; this server has {', '.join(there)}",
        f"没有模型 {name[:100] if name else name!r}；此服务器提供 {'、'.join(there)}",
        param="model",
        code="model_not_found",
    )


def describe(name: str | None) -> ModelDescription:
    """What there is to know of a model, which is loaded for it if need be; raises as :func:`served` does."""
    return served(name).embedder.description


def served_for(task: str, name: str | None) -> ModelApi:
    """The model that ``name`` means; without a name the first that can do the task.

    Raises:
        NotFound: no such model.
        InvalidInput: it cannot, or none can.
        Overloaded: the engine is not there.
    """
    using: list[ModelApi] = [
        served(name),
        *(context().others.values() if name in {None, "", "default"} else ()),
    ]
    for one in using:
        if task in one.embedder.description.capabilities:
            return one
    raise InvalidInput(
        f"expected a model that can {task}, got {name or 'none that can'}; serve one with "
        "--model NAME=SOURCE",
        f"没有能执行 {task} 的模型（{name or '未指定'}）；请用 --model 名称=来源 提供一个",
        code="unsupported_task",
        param="model",
    )


def chosen(name: str | None) -> str | None:
    """A model as stores remember it: ``None`` for the first; raises as :func:`served_for` does."""
    if name not in context().others:
        served(name)
        return None
    served_for("embed", name)
    return name


def embed(specs: list[ItemSpec], model: str | None, *, whole: bool = False) -> Embedded:
    """Fetch, decode, prepare and embed, in order.

    Args:
        whole: refuse what is longer than the model reads.

    Raises:
        ChiasmError: the first input that is wrong, named; or the engine cannot answer.
    """
    using = served(model)
    items = prepare(specs, using.preprocessor)
    if whole:
        for spec, item in zip(specs, items, strict=True):
            try:
                expect_whole(item)
            except InvalidInput as error:
                raise error.at(spec.param) from None
    try:
        return Embedded(items=items, vectors=vectors_of(items, using.embedder))
    except ChiasmError as error:
        match = _ENGINE_PARAM.fullmatch(error.param or "")
        if match and int(match[1]) < len(specs):
            error.param = specs[int(match[1])].param + match[2]
        raise


def preprocessor_of(using: ModelApi) -> Preprocessor:
    """All that prepares for a model and knows its places; raises Overloaded."""
    prepares = using.preprocessor
    return prepares.now() if isinstance(prepares, LatePreprocessor) else cast(Preprocessor, prepares)


def perform(
    task: str, items: Sequence[PreparedItem], options: Mapping[str, Any], embedder: Embedder
) -> Performance:
    """Have a model do a task, within the request's deadline and budget.

    Raises:
        InvalidInput: the model cannot.
        ChiasmError: the engine cannot answer.
    """
    if not isinstance(embedder, Performer):
        raise InvalidInput(
            f"expected a model that can {task}, got {embedder.description.name}",
            f"模型 {embedder.description.name} 不支持 {task}",
            code="unsupported_task",
            param="model",
        )
    seconds_left()
    others: dict[str, Any] = {}
    if isinstance(embedder, TimedEmbedder):
        others = {"caller": caller(), "departure": departure()}
    with (
        spending(amounts_of(items, embedder.description)),
        context().telemetry.tracer.span("engine", "client"),
    ):
        found = embedder.perform(task, items, options, deadline=deadline(), **others)
    _took(found.queue_ms, found.inference_ms)
    return found


def register_timings(app: Flask) -> None:
    """Send ``X-Queue-Time`` and ``X-Inference-Time`` (milliseconds) with every answer that a model gave."""

    @app.after_request
    def add(response: Response) -> Response:
        timings: dict[str, float] | None = g.get("timings")
        for name, milliseconds in (timings or {}).items():
            response.headers[name] = f"{milliseconds:.2f}"
        return response


def usage(items: Sequence[PreparedItem], description: ModelDescription) -> dict[str, Any]:
    """What went into the model: tokens of text and of words heard in sound, and how much of each modality."""
    audio = description.preprocess.audio
    by_modality: dict[str, dict[str, float]] = {}
    tokens = 0
    for part in (part for item in items for part in item.parts):
        amounts = by_modality.setdefault(part.modality.value, {"parts": 0})
        amounts["parts"] += 1
        arrays = part.arrays
        heard = sum(len(arrays[name]) for name in ("token_ids", "transcript_ids") if name in arrays)
        tokens += heard
        if heard:
            amounts["tokens"] = amounts.get("tokens", 0) + heard
        if seconds := part.seconds(audio):
            amounts["seconds"] = round(amounts.get("seconds", 0) + seconds, 3)
        if "pixels" in arrays and arrays["pixels"].ndim == 4:
            amounts["frames"] = amounts.get("frames", 0) + len(arrays["pixels"])
    return {"prompt_tokens": tokens, "total_tokens": tokens, "by_modality": by_modality}


def truncation(item: PreparedItem) -> dict[str, int]:
    """What was cut off an item: ``{"tokens": n}`` of texts, ``{"seconds": n}`` of sound and video."""
    cut: dict[str, int] = {}
    for part in item.parts:
        if part.truncated:
            unit = "tokens" if "token_ids" in part.arrays else "seconds"
            cut[unit] = cut.get(unit, 0) + part.truncated
    return cut


def vectors_of(items: Sequence[PreparedItem], embedder: Embedder) -> NDArray[np.float32]:
    """Unit vectors ``[items, d]``, within the request's deadline and budget.

    Raises:
        ChiasmError: ``param`` of what is wrong with an item is ``input[i]``; or the engine cannot answer.
    """
    seconds_left()
    with spending(amounts_of(items, embedder.description)):
        return _timed(items, embedder)


def _timed(items: Sequence[PreparedItem], embedder: Embedder) -> NDArray[np.float32]:
    if isinstance(embedder, TimedEmbedder):
        with context().telemetry.tracer.span("engine", "client"):
            result = embedder.embed_timed(items, deadline=deadline(), caller=caller(), departure=departure())
        queued, computed, vectors = result.queue_ms, result.inference_ms, result.vectors
    else:
        began = time.perf_counter()
        vectors = embedder.embed_prepared(items, deadline=deadline())
        queued, computed = 0.0, 1000 * (time.perf_counter() - began)
    _took(queued, computed)
    return vectors


def _took(queued: float, computed: float) -> None:
    before = g.get("timings") or {}
    g.timings = {
        "X-Queue-Time": before.get("X-Queue-Time", 0.0) + queued,
        "X-Inference-Time": before.get("X-Inference-Time", 0.0) + computed,
    }
