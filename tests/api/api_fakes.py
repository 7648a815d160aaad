"""A model that knows three colours, and everything around it as it really is."""

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from tokenizers import Tokenizer, models, pre_tokenizers

from chiasm.api import ApiContext
from chiasm.errors import ChiasmError
from chiasm.library import Library, open_library
from chiasm.preprocess import (
    ImagePreprocess,
    ModelDescription,
    PreparedItem,
    PreparedPart,
    PreprocessConfig,
    Preprocessor,
    TextPreprocess,
)
from chiasm.preprocess.explanation import Explanation, Side
from chiasm.preprocess.places import Place
from chiasm.preprocess.prepared import Performance
from chiasm.settings import LibrarySettings, Limits, ServerSettings, Settings

COLOURS = ("red", "green", "blue")
WORDS = ["[UNK]", *COLOURS, "红", "绿", "蓝", *(chr(c) for c in range(97, 123))]
DIMENSIONS = 16
MAX_TOKENS = 24


def tokenizer_json() -> bytes:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str().encode()


def describe(**changes: object) -> ModelDescription:
    values: dict[str, object] = {
        "name": "colours",
        "revision": "r1",
        "dimensions": DIMENSIONS,
        "context_length": MAX_TOKENS,
        "licence": "Apache-2.0",
        "backend": "numpy",
        "logit_scale": 20.0,
        "tokenizer": tokenizer_json(),
        "preprocess": PreprocessConfig(
            text=TextPreprocess(max_tokens=MAX_TOKENS), image=ImagePreprocess(side=16, trim=False)
        ),
    }
    return ModelDescription(**(values | changes))


@dataclass
class ColourModel:
    """The first three components are how red, green and blue a thing is; the others tell contents apart.

    ``failure``: raised instead of answering. ``gate``: holds answers back while clear. ``status``: only the
    engine's client has one.
    """

    description: ModelDescription = field(default_factory=describe)
    failure: Exception | None = None
    seen: list[PreparedItem] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def embed_prepared(self, items: Sequence[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        if self.failure is not None:
            raise self.failure
        assert self.gate.wait(60)
        self.seen += items
        return np.stack([self._vector(item) for item in items])

    def _vector(self, item: PreparedItem) -> np.ndarray:
        seed = int.from_bytes(item.key()[:4], "little")
        vector = 0.02 * np.random.default_rng(seed).standard_normal(DIMENSIONS)
        for part in item.parts:
            vector[:3] += _colour(part)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


class ExplainingModel(ColourModel):
    """Says that all of a thing mattered alike."""

    def perform(
        self,
        task: str,
        items: Sequence[PreparedItem],
        options: Mapping[str, Any],
        *,
        deadline: float | None = None,
    ) -> Performance:
        assert task == "explain"
        sides = [_looked_at(item.parts[0]) for item in items[:2]]
        links = np.ones((len(items) - 2, len(sides[0].places)), np.float32)
        about, arrays = Explanation(
            method=options["method"],
            score=0.5,
            input=sides[0],
            target=sides[1],
            links=links,
            layers=1,
            heads=1,
        ).to_message()
        return Performance(about=about, arrays=arrays)


def _looked_at(part: PreparedPart) -> Side:
    places = [Place("patch", 0, (0.0, 0.0, 1.0, 1.0))]
    if "token_ids" in part.arrays:
        places = [Place("token", n) for n in range(len(part.arrays["token_ids"]))]
    weights = np.full(len(places), 1 / len(places), np.float32)
    return Side(modality=part.modality, places=places, weights=weights)


def _colour(part: PreparedPart) -> np.ndarray:
    if "pixels" in part.arrays:
        return part.arrays["pixels"].reshape(-1, 3).mean(axis=0) / 255
    if "token_ids" in part.arrays:
        ids = part.arrays["token_ids"]
        return np.array([np.isin(ids, [i + 1, i + 4]).sum() for i in range(3)], float)
    return np.array([0.0, 0.0, 0.0])


class Absent:
    """An engine or a library that is not there."""

    def __init__(self, error: ChiasmError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> object:
        raise self._error


def settings_for(
    data_dir: Path, *, limits: Limits | None = None, server: ServerSettings | None = None
) -> Settings:
    return Settings(
        library=LibrarySettings(data_dir=data_dir),
        limits=limits
        or Limits(parts=16, text_chars=2000, json_bytes=200_000, file_bytes=300_000, body_bytes=8 << 20),
        server=server or ServerSettings(),
    )


def context_of(settings: Settings, model: ColourModel) -> tuple[ApiContext, Library]:
    preprocessor = Preprocessor(model.description)
    library = open_library(settings, model, preprocessor=preprocessor)
    return ApiContext(settings=settings, embedder=model, preprocessor=preprocessor, library=library), library


def picture(colour: str, side: int = 24) -> bytes:
    """A PNG of one colour."""
    rgb = tuple(220 if colour == name else 20 for name in COLOURS)
    buffer = io.BytesIO()
    Pillow.new("RGB", (side, side), rgb).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """A WAV of a tone."""
    import wave

    buffer = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((tone * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def video(colours: Sequence[str] = COLOURS, fps: int = 4, side: int = 32) -> bytes:
    """An MP4 with a second of each colour."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            rgb = [220 if colour == name else 20 for name in COLOURS]
            for _ in range(fps):
                frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), rgb, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
