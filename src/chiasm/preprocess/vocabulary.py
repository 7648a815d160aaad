"""New words behind a published vocabulary."""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer


def extend_tokenizer(tokenizer: Tokenizer, words: Sequence[str]) -> int:
    """Add ``words`` behind the published vocabulary; returns the new size. Matching ignores the normaliser,
    which would put blanks between Chinese characters."""
    tokenizer.add_tokens([AddedToken(w, normalized=False, single_word=False) for w in words])
    return int(tokenizer.get_vocab_size())
