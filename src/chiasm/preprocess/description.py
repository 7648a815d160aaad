"""What a web worker must know about a model without holding its weights."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.preprocess.config import PreprocessConfig


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """The greeting of an engine, and the head of a checkpoint.

    Attributes:
        name: what requests call the model.
        revision: changes whenever a vector could change; a store never mixes two.
        dimensions: width of the vectors.
        modalities: what the model can take.
        context_length: tokens of text, the special ones included.
        capabilities: tasks by name (``embed``, ``classify``, …).
        licence: SPDX expression.
        languages: that it understands, as ISO 639 codes; none if nobody says.
        metrics: what was measured, by name.
        backend: what computes, such as ``torch-cpu-float32``.
        logit_scale: factor on a cosine before the softmax of zero-shot classification.
        preprocess: every number that changes the input.
        tokenizer: JSON of a ``tokenizers.Tokenizer``; empty for a model without text.
        lexicon: opaque bytes for the speech recogniser; empty for a model without one.
        calibration: see ``library.relevance``.
    """

    name: str
    revision: str
    dimensions: int
    modalities: tuple[Modality, ...] = tuple(Modality)
    context_length: int = 256
    capabilities: tuple[str, ...] = ("embed",)
    licence: str = ""
    languages: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    backend: str = ""
    logit_scale: float = 1.0
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    tokenizer: bytes = b""
    lexicon: bytes = b""
    calibration: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """MessagePack; :meth:`from_bytes` brings it back."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        data["preprocess"] = self.preprocess.to_dict()
        return msgspec.msgpack.encode(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The description that :meth:`to_bytes` wrote.

        Raises:
            CheckpointError: bytes that are not a description of this version.
        """
        try:
            raw = msgspec.msgpack.decode(data, type=_Raw)
        except msgspec.MsgspecError as error:
            raise CheckpointError(
                f"expected a model description, got something else: {error}",
                f"应为模型描述，实际不是：{error}",
            ) from error
        values = {name: getattr(raw, name) for name in raw.__struct_fields__}
        values["preprocess"] = PreprocessConfig.from_dict(raw.preprocess)
        return cls(**values)


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    revision: str
    dimensions: int
    modalities: tuple[Modality, ...]
    context_length: int
    capabilities: tuple[str, ...]
    licence: str
    languages: tuple[str, ...]
    metrics: dict[str, Any]
    backend: str
    logit_scale: float
    preprocess: dict[str, Any]
    tokenizer: bytes
    lexicon: bytes
    calibration: dict[str, Any]
