"""The text stage: new Chinese words learn, published English stays as it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from chiasm.data.builders.parallel import Phrase
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.preprocess.vocabulary import extend_tokenizer
from chiasm.training.loop import LoopConfig, run_stage
from chiasm.training.stages.text import ExtendedText, TextStage, TextStageConfig, first_embeddings
from chiasm.training.teacher import embed_texts
from tiny_model import tiny_tokenizer

WORDS = {"苹果": ["apple"], "猫": ["cat"], "狗": ["dog"], "红色": ["red"], "鱼": []}
NAMES = [Phrase("apple", "苹果"), Phrase("cat", "猫"), Phrase("dog", "狗"), Phrase("red", "红色")]
TEMPLATES = [Phrase("a red apple", "红色苹果"), Phrase("a red cat", "红色猫"), Phrase("a red dog", "红色狗")]
SENTENCES = [Phrase("the dog and the cat", "狗猫"), Phrase("an apple on the cat", "苹果猫")]
EVERYTHING = [*NAMES, *TEMPLATES, *SENTENCES]


def make_bert() -> Bert:
    torch.manual_seed(0)
    size = tiny_tokenizer().get_vocab_size()
    return Bert(BertConfig(vocabulary=size, positions=32, width=32, depth=1, heads=2, hidden=64)).eval()


def make_stage(steps: int = 30) -> TextStage:
    bert, english, extended = make_bert(), tiny_tokenizer(), tiny_tokenizer()
    extend_tokenizer(extended, list(WORDS))
    texts = [p.en for p in EVERYTHING]
    # Random words rather than good ones: what is learnt must come from the training.
    words = torch.randn(len(WORDS), 32) * 2
    return TextStage(
        ExtendedText(bert, words),
        extended,
        names=NAMES,
        templates=TEMPLATES,
        sentences=SENTENCES,
        vectors=dict(zip(texts, embed_texts(bert, english, texts), strict=True)),
        checks={"names": NAMES},
        config=TextStageConfig(steps=steps, size=16, learning_rate=0.3),
    )


def evaluated(stage: TextStage) -> dict[str, float]:
    with torch.inference_mode():
        return stage.evaluate()


def test_new_words_start_as_their_translations_and_the_rest_in_the_middle() -> None:
    bert, tokenizer = make_bert(), tiny_tokenizer()
    table = bert.token.weight.detach()
    start = first_embeddings(bert, tokenizer, [["apple"], ["red", "cat"], ["", "dog"], []])
    ids = {word: tokenizer.token_to_id(word) for word in ("apple", "red", "cat", "dog")}
    torch.testing.assert_close(start[0], table[ids["apple"]])
    torch.testing.assert_close(start[1], (table[ids["red"]] + table[ids["cat"]]) / 2)
    torch.testing.assert_close(start[2], table[ids["dog"]])
    torch.testing.assert_close(start[3], table.mean(dim=0))


def test_training_lowers_the_loss_and_leaves_the_published_encoder_bit_for_bit(tmp_path: Path) -> None:
    stage = make_stage()
    published = make_bert().state_dict()
    english = stage.encode(["a red apple"]).detach()
    batch = stage.batch(0)
    before, figures = stage.loss(batch)["distance"].item(), evaluated(stage)
    run_stage(stage, tmp_path, LoopConfig(), lambda entry: None)
    assert stage.loss(batch)["distance"].item() < 0.5 * before
    assert evaluated(stage)["names cosine"] > figures["names cosine"]
    for name, value in stage.module.bert.state_dict().items():
        assert torch.equal(value, published[name]), name
    assert torch.equal(stage.encode(["a red apple"]), english)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["module"].keys() == {"words"}


def test_english_through_the_stage_is_the_anchor() -> None:
    stage = make_stage()
    vectors = stage.encode([p.en for p in EVERYTHING]).detach().numpy()
    np.testing.assert_allclose(vectors, [stage.vectors[p.en] for p in EVERYTHING], atol=1e-5)


def test_a_batch_is_decided_by_its_step_and_has_its_shares() -> None:
    stage = make_stage()
    assert stage.batch(3) == make_stage().batch(3) != stage.batch(4)
    batch = stage.batch(3)
    counts = [sum(phrase in pool for phrase in batch) for pool in (NAMES, TEMPLATES, SENTENCES)]
    assert counts == [10, 4, 2]


def test_states_count_the_tokens_of_each_text_alone() -> None:
    stage = make_stage()
    vectors, states, lengths = stage.states(["猫", "红色苹果 a cat"])
    assert (vectors.shape, states.shape, lengths) == ((2, 32), (2, 6, 32), [3, 6])
    alone = stage.states(["猫"])[0]
    torch.testing.assert_close(vectors[:1], alone, atol=1e-5, rtol=0)


def test_the_figures_are_shares_and_cosines() -> None:
    stage = make_stage()
    with torch.no_grad():
        for phrase in NAMES:  # a perfect word is its translation
            number = stage.tokenizer.token_to_id(phrase.zh) - stage.module.bert.token.num_embeddings
            translation = stage.tokenizer.token_to_id(phrase.en)
            stage.module.words[number] = stage.module.bert.token.weight[translation]
        assert stage.evaluate() == {"names cosine": pytest.approx(1.0, abs=1e-3), "names R@1": 1.0}
