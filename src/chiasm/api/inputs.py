"""From what a request names to what a model takes: fetch, decode, prepare; bounded in number and time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from flask import g, request

from chiasm.api.context import ApiContext, context, state
from chiasm.api.gateway import COMPLETE, DEPARTURE
from chiasm.api.parts import ItemSpec, PartSpec
from chiasm.api.pool import DecodePool
from chiasm.api.uploads import path_of as uploaded_path
from chiasm.errors import ChiasmError, DeadlineExceeded, Overloaded
from chiasm.media import decode, fetch, from_base64
from chiasm.modality import Item, Part, Text
from chiasm.observe.carried import in_other_threads
from chiasm.preprocess import PreparedItem
from chiasm.preprocess.late import Prepares
from chiasm.serving.departure import Departure

S = TypeVar("S")
T = TypeVar("T")


def deadline() -> float:
    """``context.clock()`` at which the request is given up: ``server.deadline`` after its body came."""
    if "deadline" not in g:
        now = time.monotonic()
        waited = now - float(request.environ.get(COMPLETE, now))
        g.deadline = context().clock() + context().settings.server.deadline - waited
    return float(g.deadline)


def seconds_left() -> float:
    """Seconds until :func:`deadline`.

    Raises:
        DeadlineExceeded: there are none.
    """
    left = deadline() - context().clock()
    if left <= 0:
        raise DeadlineExceeded(
            "the request was not answered before its deadline (server.deadline)",
            "请求未能在期限内完成（server.deadline）",
        )
    return left


def departure() -> Departure:
    """Whether the client of the present request is still there."""
    if "departure" not in g:
        g.departure = request.environ.get(DEPARTURE) or Departure()
    found: Departure = g.departure
    return found


def prepare(specs: list[ItemSpec], preprocessor: Prepares) -> list[PreparedItem]:
    """What the model of ``preprocessor`` takes, in the order of ``specs``.

    Raises:
        ChiasmError: the first input that is wrong, named.
        CallerLeft: nobody waits any more.
    """
    ready, presence = context(), departure()
    presence.expect_presence()
    if _all_text(specs):
        return [
            _prepare(ready, spec, preprocessor) for spec in specs
        ]  # no I/O and no decoding: threads would only cost
    with ready.telemetry.tracer.span("prepare"):

        def prepare_one(spec: ItemSpec) -> PreparedItem:
            presence.expect_presence()
            return _prepare(ready, spec, preprocessor)

        return _pool(specs).map(in_other_threads(prepare_one), specs, seconds=seconds_left())


def decoded(specs: list[ItemSpec]) -> list[Item]:
    """What they are, fetched and decoded, in their order; raises as :func:`prepare`."""
    ready, presence = context(), departure()
    presence.expect_presence()

    def decode_one(spec: ItemSpec) -> Item:
        presence.expect_presence()
        return Item(tuple(load_part(ready, part) for part in spec.parts))

    if _all_text(specs):
        return [decode_one(spec) for spec in specs]
    return _pool(specs).map(in_other_threads(decode_one), specs, seconds=seconds_left())


def aside(run: Callable[[], T]) -> T:
    """Compute what is not quick in a thread that is there for it, within the request's deadline."""
    return in_threads(lambda work: work(), [run])[0]


def in_threads(run: Callable[[S], T], values: Sequence[S]) -> list[T]:
    """``run`` of each, in order, in threads that are there for what is not quick."""
    return state().decoding.map(in_other_threads(run), values, seconds=seconds_left())


def hold(specs: list[ItemSpec]) -> list[ItemSpec]:
    """The same items with the bytes of what lies at an address or came as base64, to be read more than once.

    Raises:
        ChiasmError: the first that cannot be had, named.
    """
    ready = context()
    return _pool(specs).map(in_other_threads(partial(_held, ready)), specs, seconds=seconds_left())


def load_part(ready: ApiContext, spec: PartSpec) -> Part:
    """Fetch and decode one part.

    Raises:
        ChiasmError: it cannot be had; ``param`` names it.
    """
    if spec.kind == "text":
        return Text(spec.value)
    try:
        return _decode(ready, _source(ready, spec), spec)
    except ChiasmError as error:
        error.param = spec.param
        raise


def _decode(ready: ApiContext, source: bytes | Path, spec: PartSpec) -> Part:
    begun = time.perf_counter()
    kind = "unknown"
    try:
        with ready.telemetry.tracer.span("decode"):
            part = decode(source, ready.settings.limits, expect=spec.expect)
        kind = part.modality.value
        return part
    finally:
        ready.telemetry.metrics.decode_seconds.labels(kind).observe(time.perf_counter() - begun)


def _held(ready: ApiContext, spec: ItemSpec) -> ItemSpec:
    parts = []
    for part in spec.parts:
        if part.kind in {"url", "base64"}:
            try:
                part = replace(part, kind="bytes", value=_source(ready, part))  # noqa: PLW2901
            except ChiasmError as error:
                raise error.at(part.param) from None
        parts.append(part)
    return replace(spec, parts=tuple(parts))


def _prepare(ready: ApiContext, spec: ItemSpec, preprocessor: Prepares) -> PreparedItem:
    item = Item(tuple(load_part(ready, part) for part in spec.parts))
    try:
        return preprocessor.prepare(item)
    except Overloaded:
        raise  # about the engine, not about the input
    except ChiasmError as error:
        raise error.at(spec.param) from None


def _all_text(specs: Sequence[ItemSpec]) -> bool:
    return {part.kind for spec in specs for part in spec.parts} <= {"text"}


def _pool(specs: Sequence[ItemSpec]) -> DecodePool:
    return state().fetching if any(map(_is_remote, specs)) else state().decoding


def _is_remote(spec: ItemSpec) -> bool:
    return any(part.kind == "url" and part.value[:5].lower() != "data:" for part in spec.parts)


def _source(ready: ApiContext, spec: PartSpec) -> bytes | Path:
    limits = ready.settings.limits
    match spec.kind:
        case "bytes":
            return bytes(spec.value)
        case "url":
            with ready.telemetry.step("fetch", ready.telemetry.metrics.fetch_seconds):
                return fetch(spec.value, limits)
        case "base64":
            return from_base64(spec.value, limits)
        case "file":
            return ready.library.path_of(spec.value)
        case _:
            return uploaded_path(spec.value)
