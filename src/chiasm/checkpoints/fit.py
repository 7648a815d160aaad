"""Whether the parts of a checkpoint fit each other."""

import math
from collections.abc import Sequence

from tokenizers import Tokenizer

from chiasm.errors import CheckpointError
from chiasm.models.mini.config import MiniConfig
from chiasm.preprocess import PreprocessConfig
from chiasm.preprocess.vocabulary import extend_tokenizer

_TRUNK_STRIDE = 32


def check_fit(
    config: MiniConfig, preprocess: PreprocessConfig, tokenizer_json: str, words: Sequence[str]
) -> bytes:
    """Compare the model's shape with what is prepared for it.

    Returns:
        The tokenizer with the words, as JSON.

    Raises:
        CheckpointError: naming the two numbers that disagree.
    """
    widths = (config.image.dim, config.audio.dim, config.motion.dim, config.fusion.width)
    for width in widths:
        _agree("width of a tower", width, "text.width", config.text.width)
    _agree("image.positions", config.image.positions, "cells of a picture", cells(preprocess.image.side))
    _agree("audio.mels", config.audio.mels, "preprocess.audio.mels", preprocess.audio.mels)
    if preprocess.text.max_tokens > config.text.positions:
        _agree(
            "text.positions", config.text.positions, "preprocess.text.max_tokens", preprocess.text.max_tokens
        )
    tokenizer = _tokenizer(tokenizer_json)
    base = tokenizer.get_vocab_size()
    size = extend_tokenizer(tokenizer, words)
    if any(tokenizer.token_to_id(word) != base + index for index, word in enumerate(words)):
        raise CheckpointError(
            "words.txt: expected new words without repeats, got one that the vocabulary has already",
            "words.txt：应为互不重复的新词，实际含有词表中已有的词",
            param="words.txt",
        )
    _agree("text.vocabulary", config.text.vocabulary, "words of the tokenizer", size)
    return tokenizer.to_str().encode()


def cells(side: int) -> int:
    """Cells of the trunk's coarse map for pictures of this side."""
    return math.ceil(side / _TRUNK_STRIDE) ** 2


def _tokenizer(tokenizer_json: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the binding raises bare Exception
        raise CheckpointError(
            f"tokenizer.json: expected the JSON of a tokenizer, got: {error}",
            f"tokenizer.json：应为分词器的 JSON：{error}",
            param="tokenizer.json",
        ) from error


def _agree(first: str, one: int, second: str, other: int) -> None:
    if one != other:
        raise CheckpointError(
            f"expected parts that fit: {first} is {one}, {second} is {other}",
            f"各部分应彼此一致：{first} 为 {one}，{second} 为 {other}",
            param=first,
        )
