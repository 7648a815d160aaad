"""Prepared items, vectors and answers as payloads: what ``embed`` and ``perform`` calls carry, both ways."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from chiasm.errors import InvalidInput
from chiasm.modality import Modality, key_of
from chiasm.preprocess import PreparedItem, PreparedPart
from chiasm.serving.messages import ErrorInfo, Payload
from chiasm.serving.wire import Array


class PartHeader(msgspec.Struct, array_like=True, frozen=True):
    """A part without its arrays: those follow in the order of ``names``."""

    modality: Modality
    names: tuple[str, ...]
    truncated: int
    cost: float


class ItemHeader(msgspec.Struct, array_like=True, frozen=True):
    """An item without its arrays; ``key`` is its content hash."""

    key: bytes
    parts: tuple[PartHeader, ...]

    @property
    def cost(self) -> float:
        """The sum over the parts."""
        return sum(part.cost for part in self.parts)


class EmbedRequest(msgspec.Struct, frozen=True):
    """``revision``: the model that the items were prepared for. ``model``: its name; empty for the first."""

    revision: str
    items: tuple[ItemHeader, ...]
    model: str = ""


class EmbedAnswer(msgspec.Struct, frozen=True):
    """``errors`` by the index of the item; the row of such an item is zero. Times in milliseconds."""

    errors: dict[int, ErrorInfo]
    queue_ms: float
    inference_ms: float
    cached: int


class PerformRequest(EmbedRequest, frozen=True, kw_only=True):
    """A task on all items together; ``options`` are the task's own."""

    task: str
    options: dict[str, Any]


class PerformAnswer(msgspec.Struct, frozen=True):
    """What the task says, and with it arrays. Times in milliseconds."""

    about: dict[str, Any]
    queue_ms: float
    inference_ms: float


class EngineStatus(msgspec.Struct, frozen=True):
    """How the engine is doing.

    ``busy_seconds``: how long the present batch has been running (0 when idle); ``stuck``: for too long.
    """

    pid: int
    revision: str
    uptime: float
    queue_length: int
    queue_cost: float
    busy_seconds: float
    stuck: bool
    draining: bool
    counts: dict[str, int]


class ModelStanding(msgspec.Struct, frozen=True):
    """How a model of the engine stands: unloaded, loading, loaded or failed, and then why."""

    name: str
    state: str
    bytes: int
    error: ErrorInfo | None = None


class ModelStandings(msgspec.Struct, frozen=True):
    """Of all models, the first one first."""

    models: tuple[ModelStanding, ...]


def to_payload(struct: msgspec.Struct) -> Payload:
    """A plain dictionary for the wire."""
    payload: Payload = msgspec.to_builtins(struct, builtin_types=(bytes,))
    return payload


def from_payload(payload: Payload, kind: type[Any]) -> Any:
    """The struct again.

    Raises:
        InvalidInput: the payload is not of that kind.
    """
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"expected {kind.__name__}: {error}", f"应为 {kind.__name__}：{error}", code="malformed_message"
        ) from error


def pack_items(items: Sequence[PreparedItem], revision: str, model: str = "") -> tuple[Payload, list[Array]]:
    """Payload and arrays of an ``embed`` call."""
    headers, arrays = _headers(items)
    return to_payload(EmbedRequest(revision, headers, model)), arrays


def pack_task(
    task: str,
    items: Sequence[PreparedItem],
    options: Mapping[str, Any],
    revision: str,
    model: str = "",
) -> tuple[Payload, list[Array]]:
    """Payload and arrays of a ``perform`` call."""
    headers, arrays = _headers(items)
    request = PerformRequest(revision, headers, model, task=task, options=dict(options))
    return to_payload(request), arrays


def _headers(items: Sequence[PreparedItem]) -> tuple[tuple[ItemHeader, ...], list[Array]]:
    headers: list[ItemHeader] = []
    arrays: list[Array] = []
    for item in items:
        parts = []
        for part in item.parts:
            parts.append(PartHeader(part.modality, tuple(part.arrays), part.truncated, part.cost))
            arrays += part.arrays.values()
        headers.append(ItemHeader(item.key(), tuple(parts)))
    return tuple(headers), arrays


def unpack_items(request: EmbedRequest, arrays: Sequence[Array]) -> list[PreparedItem]:
    """The items of an ``embed`` call.

    Raises:
        InvalidInput: headers and arrays do not fit together, or a cost that is not a finite positive number.
    """
    announced = sum(len(part.names) for item in request.items for part in item.parts)
    if announced != len(arrays):
        raise InvalidInput(
            f"expected {announced} arrays, got {len(arrays)}",
            f"应有 {announced} 个数组，实际为 {len(arrays)} 个",
            code="malformed_message",
        )
    supply = iter(arrays)
    return [_item(header, supply) for header in request.items]


def bucket_of(item: PreparedItem) -> str:
    """What can share a batch: one kind of content, of about the same length (the next power of two)."""
    kind = key_of([part.modality for part in item.parts])
    if kind in {Modality.TEXT, Modality.AUDIO} and len(item.parts) == 1:
        arrays = item.parts[0].arrays
        main = arrays.get("token_ids" if kind == Modality.TEXT else "log_mel")
        length = len(main) if main is not None and main.ndim else 0
        return f"{kind}:{max(16, 1 << max(0, length - 1).bit_length())}"
    return kind


def _item(header: ItemHeader, supply: Iterator[Array]) -> PreparedItem:
    if not header.parts:
        raise InvalidInput(
            "expected at least one part in an item, got none",
            "一个条目至少要有一个部分，实际为空",
            code="malformed_message",
        )
    return PreparedItem(tuple(_part(part, supply) for part in header.parts))


def _part(header: PartHeader, supply: Iterator[Array]) -> PreparedPart:
    if not 0 <= header.cost < float("inf"):
        raise InvalidInput(
            f"expected a finite cost of at least 0, got {header.cost}",
            f"成本应为不小于 0 的有限数，实际为 {header.cost}",
            code="malformed_message",
        )
    arrays = {name: next(supply) for name in header.names}
    return PreparedPart(header.modality, arrays, header.truncated, header.cost)
