"""``chiasm.load_language``: the reference's text from folders of every family, and from a GGUF file."""

import json
from pathlib import Path

import pytest
import torch
import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import chiasm
from chiasm.errors import CheckpointError, InvalidInput

SHAPE = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 52, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
PROMPT = "a red apple, 红色的苹果 🍎"


def make(kind: str, folder: Path) -> t.PreTrainedModel:
    torch.manual_seed(3)
    if kind == "gpt2":
        config = t.GPT2Config(vocab_size=320, n_positions=64, n_embd=32, n_layer=2, n_head=4, eos_token_id=1)
        model = t.GPT2LMHeadModel(config)
    elif kind == "qwen2":
        model = t.Qwen2ForCausalLM(t.Qwen2Config(**SHAPE, tie_word_embeddings=True))
    else:
        model = t.LlamaForCausalLM(t.LlamaConfig(**SHAPE, tie_word_embeddings=False))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=310,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([PROMPT] * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_the_text_is_the_references(kind: str, tmp_path: Path) -> None:
    theirs = make(kind, tmp_path)
    ours = chiasm.load_language(tmp_path, device="cpu")
    ids = torch.tensor([ours.tokenizer.encode(PROMPT).ids])
    rest = {"max_new_tokens": 24, "do_sample": False, "pad_token_id": 0}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **rest)[0, ids.shape[1] :].tolist()
    whole = ours.tokenizer.decode([one for one in expected if one < 310])
    got = ours.generate(PROMPT, max_tokens=24)
    assert got
    assert whole.startswith(got.rstrip("\ufffd")), "an unfinished character at the end is left out"
    assert "".join(ours.stream(PROMPT, max_tokens=24)) == got


def test_it_ends_where_the_model_ends(tmp_path: Path) -> None:
    make("llama", tmp_path)
    ours = chiasm.load_language(tmp_path, device="cpu")
    first = ours.tokenizer.encode(ours.generate(PROMPT, max_tokens=1) or "x").ids
    ids = torch.tensor([ours.tokenizer.encode(PROMPT).ids])
    token = int(ours._loaded.model(ids)[0, -1].argmax())
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [token, 5]}))
    assert first
    assert ours._loaded.ends == (1,)
    ended = chiasm.load_language(tmp_path, device="cpu")
    assert ended._loaded.ends == (token, 5)
    assert len(list(ended.stream(PROMPT, max_tokens=30))) <= 1


def test_what_cannot_be_gone_on_from(tmp_path: Path) -> None:
    make("gpt2", tmp_path)
    ours = chiasm.load_language(tmp_path, device="cpu")
    for prompt, count in (("", 5), ("a", 0), ("a", 64), ("word " * 100, 5)):
        with pytest.raises(InvalidInput, match="at most 64"):
            ours.generate(prompt, max_tokens=count)


def test_other_families_and_other_tokenizers_are_refused(tmp_path: Path) -> None:
    make("llama", tmp_path)
    manifest = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**manifest, "model_type": "mamba"}))
    with pytest.raises(CheckpointError, match=r"expected one of .*'gpt2'.* got 'mamba'"):
        chiasm.load_language(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(manifest))
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_tokens([f"more{n}" for n in range(80)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="another model's"):
        chiasm.load_language(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="expected a tokenizer"):
        chiasm.load_language(tmp_path)
    with pytest.raises(CheckpointError):
        chiasm.load_language(tmp_path / "none.gguf")
