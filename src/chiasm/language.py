"""A language model in this process: ``chiasm.load_language()`` and what it returns."""

import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from chiasm.checkpoints.decoders import LoadedDecoder, load_decoder
from chiasm.errors import InvalidInput
from chiasm.inference import optimise, pick_device
from chiasm.models.generate import greedy
from chiasm.settings import Precision


class LanguageModel:
    """Goes on from a text. Thread-safe; one computation at a time."""

    def __init__(self, loaded: LoadedDecoder) -> None:
        self._loaded = loaded
        self._lock = threading.Lock()

    @property
    def tokenizer(self) -> Tokenizer:
        """Text ↔ token ids."""
        return self._loaded.tokenizer

    def generate(self, prompt: str, *, max_tokens: int = 128) -> str:
        """What follows, the likeliest token each time; see :meth:`stream`."""
        return "".join(self.stream(prompt, max_tokens=max_tokens))

    def stream(self, prompt: str, *, max_tokens: int = 128) -> Iterator[str]:
        """What follows, piece by piece: a piece is whole characters.

        Args:
            prompt: as the model was trained to read it; special tokens may be written out.
            max_tokens: at least 1; fewer are given when the model ends its text.

        Raises:
            InvalidInput: nothing to go on from, or more tokens than the model has positions for.
        """
        model = self._loaded.model
        ids = self.tokenizer.encode(prompt).ids
        positions = model.config.positions
        if not ids or max_tokens < 1 or len(ids) + max_tokens > positions:
            raise InvalidInput(
                "expected a prompt of at least one token and at least one new token, "
                f"together at most {positions}, got {len(ids)} and {max_tokens}",
                f"提示与新词元各至少一个，合计不超过 {positions} 个，实际为 {len(ids)} 与 {max_tokens}",
                param="prompt",
            )
        device = next(iter(model.state_dict().values())).device
        pieces = DecodeStream(skip_special_tokens=True)
        with self._lock:
            following = greedy(model, torch.tensor([ids], device=device), max_tokens, ends=self._loaded.ends)
            for token in following:
                piece = pieces.step(self.tokenizer, int(token))
                if piece:
                    yield piece


def load_language(
    source: str | Path, *, device: str = "auto", precision: Precision = "float32"
) -> LanguageModel:
    """Load a language model.

    Args:
        source: a GPT-2, Llama or Qwen 2: a folder as model hubs hold them, the name of one that was pulled,
            or a GGUF file (extra ``gguf``).
        device: ``auto`` (an NVIDIA GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``bfloat16`` takes half the memory, and less time where the device computes in it.

    Raises:
        CheckpointError: no such model, or its files are damaged or do not fit each other.
        SettingsError: a device that is not here.
    """
    loaded = load_decoder(source, pick_device(device), precision)
    optimise(loaded.model)
    return LanguageModel(loaded)
