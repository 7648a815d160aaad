"""Token ids of 10,000 strings in Chinese, English, emoji and worse, beside the reference's tokenizers."""

import random
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

from chiasm.checkpoints.foreign import read_tokenizer
from chiasm.preprocess.config import TextPreprocess
from chiasm.preprocess.text import TextPreprocessor

COUNT = 10_000
POSITIONS = 48
ENGLISH = (
    "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "nobody's", "watching",
    "naïve", "café", "résumé",
)  # fmt: skip
CHINESE = "红色的苹果在桌子上一只猫坐着看窗外下雨时分明月几时有把酒问青天茶与水温夜里的火车"
EMOJI = ("😀", "👩🏽‍🚀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "❤️", "🇨🇳", "1️⃣", "☕", "🧑🏿")
ODD = (
    "\0", "\t", "\r\n", "\u200b", "\u200d", "\ufeff", "\u3000", "e\u0301", "ﬁ",
    "Ａｂｃ１２", "مرحبا بالعالم", "שלום", "नमस्ते", "\u202etxet", "ß", "İstanbul", "ǅ",
    "𝔘𝔫𝔦", "한국어", "ﾊﾝｶｸ", "…", "—", "``''", "[MASK]", "<pad>", "<|endoftext|>",
    "##ing", "https://example.org/a?b=c&d=%20#e", "a@b.co", "3.14159", "1,000,000",
    "١٢٣", "№5", "x²+y²", "\x7f", "\x1b[0m", "´`^",
)  # fmt: skip


def strings() -> list[str]:
    rng = random.Random(11)

    def piece() -> str:
        match rng.randrange(8):
            case 0 | 1:
                word = rng.choice(ENGLISH)
                return rng.choice((word, word.upper(), word.title()))
            case 2 | 3:
                start = rng.randrange(len(CHINESE))
                return CHINESE[start : start + rng.randrange(1, 9)]
            case 4:
                return rng.choice(EMOJI)
            case 5:
                return rng.choice(ODD)
            case 6:
                return "".join(rng.choices(string.printable, k=rng.randrange(1, 12)))
            case _:
                code = rng.choice((rng.randrange(32, 0xD800), rng.randrange(0xE000, 0x30000)))
                return chr(code)

    made = ["", " ", "  \n\t ", "a", "猫", *EMOJI, *ODD, "word " * 400, "猫" * 500, "x" * 3000]
    while len(made) < COUNT:
        made.append(rng.choice(("", " ", "  ")).join(piece() for _ in range(rng.randrange(1, 14))))
    return made


STRINGS = strings()
CORPUS = [" ".join(ENGLISH), CHINESE, *EMOJI, *(text for text in STRINGS[:400])]


def bert(folder: Path, *, lowercase: bool) -> transformers.PreTrainedTokenizerBase:
    """As older checkpoints have it: ``vocab.txt`` and no more."""
    trained = BertWordPieceTokenizer(lowercase=lowercase)
    trained.train_from_iterator(CORPUS, vocab_size=900, show_progress=False)
    folder.mkdir()
    trained.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(f'{{"do_lower_case": {str(lowercase).lower()}}}')
    return transformers.BertTokenizer.from_pretrained(folder)


def cased(folder: Path) -> transformers.PreTrainedTokenizerBase:
    return bert(folder, lowercase=False)


def uncased(folder: Path) -> transformers.PreTrainedTokenizerBase:
    return bert(folder, lowercase=True)


def byte_level(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """RoBERTa's kind."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator(CORPUS, trainer)
    trained.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return saved(trained, folder, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def clip(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """CLIP's kind: pairs within words that end in ``</w>``, after cleaning and in lower case."""
    trained = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(" ", " "), normalizers.Lowercase()]
    )
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "removed"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    trained.train_from_iterator(CORPUS, trainer)
    trained.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False
    )
    return saved(trained, folder, bos_token="<|startoftext|>", eos_token="<|endoftext|>")


def unigram(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """XLM-R's and SigLIP's kind."""
    trained = Tokenizer(models.Unigram())
    trained.normalizer = normalizers.NFKC()
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=900, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(CORPUS, trainer)
    trained.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", trained.token_to_id("</s>"))]
    )
    return saved(trained, folder, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def saved(trained: Tokenizer, folder: Path, **special: str) -> transformers.PreTrainedTokenizerBase:
    reference = transformers.PreTrainedTokenizerFast(tokenizer_object=trained, **special)
    reference.save_pretrained(folder)
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.mark.parametrize("make", [cased, uncased, byte_level, clip, unigram])
def test_ids_are_the_references(
    make: Callable[[Path], transformers.PreTrainedTokenizerBase], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    reference = make(folder)
    tokenizer, most = read_tokenizer(folder, POSITIONS)
    assert most == POSITIONS
    prepare = TextPreprocessor(TextPreprocess(max_tokens=most), tokenizer)
    expected = reference(STRINGS, truncation=True, max_length=POSITIONS)["input_ids"]
    different = [
        (text, ours.tolist(), theirs)
        for text, theirs in zip(STRINGS, expected, strict=True)
        if not np.array_equal(ours := prepare(text)[0], theirs)
    ]
    assert not different, (len(different), different[:3])
    assert len(STRINGS) == COUNT
    assert max(map(len, expected)) == POSITIONS
    assert len({tuple(ids) for ids in expected}) > COUNT / 2


def test_what_is_cut_is_counted(tmp_path: Path) -> None:
    reference = byte_level(tmp_path / "model")
    tokenizer, most = read_tokenizer(tmp_path / "model", POSITIONS)
    prepare = TextPreprocessor(TextPreprocess(max_tokens=most), tokenizer)
    for text in STRINGS[:200]:
        whole = len(reference(text)["input_ids"])
        assert prepare(text)[1] == max(0, whole - POSITIONS)
