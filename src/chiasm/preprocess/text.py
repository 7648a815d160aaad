"""Text → token ids."""

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from chiasm.errors import CheckpointError, InvalidInput
from chiasm.preprocess.config import TextPreprocess
from chiasm.preprocess.places import Place


class TextPreprocessor:
    """A tokenizer and its context length. Thread-safe.

    Args:
        config: the context length.
        tokenizer: JSON of a ``tokenizers.Tokenizer`` whose post-processor adds the special tokens.

    Raises:
        CheckpointError: JSON that is not a tokenizer.
    """

    def __init__(self, config: TextPreprocess, tokenizer: bytes) -> None:
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
        except Exception as error:  # the binding raises bare Exception
            raise CheckpointError(
                f"expected the JSON of a tokenizer, got: {error}", f"应为分词器的 JSON，实际为：{error}"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._room = config.max_tokens - self._tokenizer.num_special_tokens_to_add(False)

    def __call__(self, text: str) -> tuple[NDArray[np.int32], int]:
        """Token ids ``[t]``, special ones included, and the number of tokens that were cut off the end.

        Raises:
            InvalidInput: a string that is not valid Unicode (a lone surrogate).
        """
        encoding, cut = self._encode(text)
        return np.asarray(encoding.ids, dtype=np.int32), cut

    def kept(self, text: str) -> str:
        """As much of the text as is not cut off. Raises as calls do."""
        encoding, _ = self._encode(text)
        ends = (
            end
            for (_, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
            if not special
        )
        return text[: max(ends, default=0)]

    def places(self, text: str) -> list[Place]:
        """What the tokens are: the characters of each; special ones stand for none. Raises as calls do."""
        encoding, _ = self._encode(text)
        special = encoding.special_tokens_mask
        return [
            Place("token", n, span=None if special[n] else (float(start), float(end)))
            for n, (start, end) in enumerate(encoding.offsets)
        ]

    def _encode(self, text: str) -> tuple[Encoding, int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"expected Unicode text, got a lone surrogate at position {error.start}",
                f"应为合法的 Unicode 文本，实际在位置 {error.start} 处有孤立的代理字符",
            ) from error
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        cut = max(0, len(encoding) - self._room)
        if cut:
            encoding.truncate(self._room)
        return self._tokenizer.post_process(encoding), cut
