"""What travels from the web worker to the engine: arrays of fixed shape, and what they cost."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.modality import Modality
from chiasm.preprocess.config import AudioPreprocess
from chiasm.preprocess.description import ModelDescription


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPart:
    """One part as a model takes it.

    Attributes:
        modality: which tower it goes to.
        arrays: by modality, as in docs/architecture.md.
        truncated: what was cut off: tokens of a text; seconds of a sound or video, rounded up.
        cost: in units of one picture through the image tower.
    """

    modality: Modality
    arrays: Mapping[str, NDArray[Any]]
    truncated: int
    cost: float

    def seconds(self, audio: AudioPreprocess) -> float:
        """Of the sound in it, at the model's rate."""
        if "samples" in self.arrays:
            return len(self.arrays["samples"]) / audio.rate
        return len(self.arrays.get("log_mel", ())) * audio.hop / audio.rate


@dataclass(frozen=True, slots=True, eq=False)
class PreparedItem:
    """What gets one vector."""

    parts: tuple[PreparedPart, ...]

    @property
    def cost(self) -> float:
        """The sum over the parts."""
        return sum(part.cost for part in self.parts)

    @property
    def truncated(self) -> int:
        """The tokens that were cut off the texts."""
        return sum(part.truncated for part in self.parts if part.modality is Modality.TEXT)

    def key(self) -> bytes:
        """A hash of everything a model sees (32 bytes): equal content, equal key."""
        digest = hashlib.blake2b(digest_size=32)
        for part in self.parts:
            digest.update(f"{part.modality.value}:{len(part.arrays)};".encode())
            for name in sorted(part.arrays):
                array = np.ascontiguousarray(part.arrays[name])
                digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
                digest.update(array.data)
        return digest.digest()


class Embedder(Protocol):
    """Whatever turns prepared items into vectors: the model in this process, or the engine's client."""

    @property
    def description(self) -> ModelDescription:
        """The model that answers."""

    def embed_prepared(
        self, items: Sequence[PreparedItem], *, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Unit vectors ``[items, d]``.

        Args:
            items: what to embed, in the order of the answer.
            deadline: ``time.time()`` after which the answer is of no use.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Performance:
    """What a task made of items: data and arrays; milliseconds in the queue and on the device."""

    about: Mapping[str, Any]
    arrays: Sequence[NDArray[Any]]
    queue_ms: float = 0.0
    inference_ms: float = 0.0


@runtime_checkable
class Performer(Protocol):
    """Whatever does what a model can do besides vectors: an :class:`Embedder` that has such models."""

    def perform(
        self,
        task: str,
        items: Sequence[PreparedItem],
        options: Mapping[str, Any],
        *,
        deadline: float | None = None,
    ) -> Performance:
        """See :func:`chiasm.tasks.perform.perform`; ``deadline`` as of :meth:`Embedder.embed_prepared`."""


def expect_whole(item: PreparedItem) -> None:
    """Refuse an item of which something was cut off.

    Raises:
        InvalidInput: how much is too much.
    """
    for part in item.parts:
        if part.truncated:
            unit, unit_zh = ("tokens", "个词元") if "token_ids" in part.arrays else ("seconds", "秒")
            raise InvalidInput(
                f"expected no more than the model reads, got {part.truncated} {unit} more",
                f"超出模型能读取的长度 {part.truncated} {unit_zh}",
                code="input_too_long",
            )
