"""GPT-2 and Llama: the reference's logits and tokens, with and without a cache."""

from typing import Any

import pytest
import torch
import transformers as t

from chiasm.checkpoints.shapes import Table, gpt_config, llama_config
from chiasm.errors import CheckpointError
from chiasm.models.generate import greedy
from chiasm.models.gpt.import_weights import convert as convert_gpt
from chiasm.models.gpt.model import Gpt
from chiasm.models.llama.config import LlamaConfig
from chiasm.models.llama.import_weights import convert as convert_llama
from chiasm.models.llama.model import Llama
from chiasm.nn.packed import PackedLinear, pack
from chiasm.nn.recorder import record

KINDS = ("gpt2", "llama", "llama-untied", "qwen2")


def pair(kind: str) -> tuple[Any, Any]:
    """Ours and theirs with the same random weights."""
    torch.manual_seed(11)
    if kind == "gpt2":
        theirs = t.GPT2LMHeadModel(
            t.GPT2Config(vocab_size=97, n_positions=40, n_embd=32, n_layer=3, n_head=4)
        )
    else:
        shape = {
            "vocab_size": 97, "hidden_size": 32, "intermediate_size": 52, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 40,
            "tie_word_embeddings": kind != "llama-untied", "bos_token_id": 1, "eos_token_id": 2,
        }  # fmt: skip
        if kind == "qwen2":
            theirs = t.Qwen2ForCausalLM(t.Qwen2Config(**shape))
        else:
            theirs = t.LlamaForCausalLM(
                t.LlamaConfig(
                    **shape, head_dim=12, rope_parameters={"rope_type": "default", "rope_theta": 5000.0}
                )
            )
    theirs.eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    table = Table(theirs.config.to_dict())
    if kind == "gpt2":
        ours: Any = Gpt(gpt_config(table))
        ours.load_state_dict(convert_gpt(theirs.state_dict()))
    else:
        config = llama_config(table, kind.partition("-")[0])
        ours = Llama(config)
        ours.load_state_dict(convert_llama(theirs.state_dict(), tied=config.tied))
    return ours.eval(), theirs


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_logits_are_the_reference_s(kind: str, precision: torch.dtype, tolerance: float) -> None:
    ours, theirs = pair(kind)
    ours, theirs = ours.to(precision), theirs.to(precision)
    if kind != "gpt2":
        tolerance = max(tolerance, 1e-6)  # the reference normalises in single precision whatever comes in
    ids = torch.randint(3, 97, (3, 17))
    mask = torch.arange(17) >= torch.tensor([0, 4, 11])[:, None]
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    expected = theirs(input_ids=ids, attention_mask=mask.long(), position_ids=positions).logits
    found = ours(ids, mask)
    error = (found - expected).abs() / expected.abs().clamp(min=1)
    assert float(error[mask].max()) < tolerance
    assert float((ours(ids) - theirs(input_ids=ids).logits).abs().max()) < 10 * tolerance


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_cache_changes_nothing(kind: str) -> None:
    ours, _ = pair(kind)
    ids = torch.randint(3, 97, (2, 20))
    mask = torch.arange(20) >= torch.tensor([0, 5])[:, None]
    whole = ours(ids, mask)
    cache = ours.new_cache(20)
    steps = [ours(ids[:, :9], mask[:, :9], cache)]
    steps += [ours(ids[:, n : n + 1], mask[:, : n + 1], cache) for n in range(9, 20)]
    together = torch.cat(steps, dim=1)
    torch.testing.assert_close(together[mask], whole[mask], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="at most 20"):
        ours(ids[:, :1], None, cache)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tokens_come_out(kind: str) -> None:
    ours, theirs = pair(kind)
    ids = torch.randint(3, 97, (2, 6))
    expected = theirs.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[:, 6:]
    found = torch.stack(list(greedy(ours, ids, 12)), dim=1)
    assert found.tolist() == expected.tolist()
    end = int(expected[0, 3])
    ended = torch.stack(list(greedy(ours, ids[:1], 12, ends=[end])), dim=1)
    assert ended[0].tolist() == expected[0, : expected[0].tolist().index(end) + 1].tolist()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_packed_decoders_give_the_same(tied: bool, bias: bool) -> None:
    torch.manual_seed(4)
    shape = LlamaConfig(
        vocabulary=97,
        positions=40,
        width=64,
        depth=2,
        heads=4,
        key_heads=2,
        head_width=32,
        hidden=80,
        tied=tied,
        bias=bias,
    )
    model = Llama(shape).eval().requires_grad_(False)
    ids = torch.randint(0, 97, (2, 9))
    before, tokens = model(ids), [t.tolist() for t in greedy(model, ids, 8)]
    pack(model)
    pack(model)
    assert sum(isinstance(module, PackedLinear) for module in model.modules()) == 2 * 5 + 1
    torch.testing.assert_close(model(ids), before, atol=1e-5, rtol=1e-5)
    assert [t.tolist() for t in greedy(model, ids, 8)] == tokens


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_attention_is_recorded_and_changes_nothing(kind: str) -> None:
    ours, _ = pair(kind)
    ids = torch.randint(3, 97, (1, 7))
    before = ours(ids)
    with record(ours) as seen:
        after = ours(ids)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert [tuple(alpha.shape) for _, alpha in seen.weights] == [(1, 4, 7, 7)] * 3
    for _, alpha in seen.weights:
        torch.testing.assert_close(alpha.sum(-1), torch.ones(1, 4, 7))
        assert float(alpha.triu(1).abs().max()) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {"hidden_act": "gelu"},
        {"use_sliding_window": True},
    ],
)
def test_what_we_do_not_compute_is_refused(changes: dict) -> None:
    with pytest.raises(CheckpointError):
        llama_config(Table({"model_type": "llama", **changes}), "llama")
