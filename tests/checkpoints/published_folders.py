"""Tiny random checkpoints as model hubs hold them, written by ``transformers``, and tokenizers for them."""

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = ("a red apple on the table", "the blue car", "猫在桌子上", "a", "naïve café 😀 " * 3)
VISION = {
    "hidden_size": 32, "intermediate_size": 52, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": 30, "patch_size": 6,
}  # fmt: skip
READER = {"hidden_size": 24, "intermediate_size": 44, "num_hidden_layers": 3, "num_attention_heads": 2}
PICTURES = {
    "do_resize": True, "size": {"shortest_edge": 30}, "do_center_crop": True,
    "crop_size": {"height": 30, "width": 30}, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48, 0.45, 0.40], "image_std": [0.26, 0.25, 0.27],
    "do_convert_rgb": True,
}  # fmt: skip


def trained_tokenizer(begin: str, end: str) -> Tokenizer:
    """Byte-level BPE whose texts begin and end with these tokens (an empty one is left out)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<pad>", *filter(None, (begin, end))]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    named = [(token, tokenizer.token_to_id(token)) for token in (begin, end) if token]
    single = " ".join(filter(None, (begin, "$A", end)))
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=named)
    return tokenizer


def make(kind: str, folder: Path) -> torch.nn.Module:
    """Write a folder of this kind; the reference model."""
    torch.manual_seed(7)
    model = _model(kind).eval()
    with torch.no_grad():  # published ones are not zero anywhere, so neither are these
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if kind in {"bert", "roberta", "chinese_clip"}:
        trained_tokenizer("[CLS]", "[SEP]").save(str(folder / "tokenizer.json"))
    elif kind == "siglip":
        trained_tokenizer("", "</s>").save(str(folder / "tokenizer.json"))
    elif kind == "clip":
        trained_tokenizer("<start>", "<end>").save(str(folder / "tokenizer.json"))
    if kind not in {"bert", "roberta"}:
        numbers = PICTURES
        if kind in {"siglip", "vit"}:
            numbers = {**PICTURES, "size": {"height": 30, "width": 30}, "resample": 2}
            numbers = {k: v for k, v in numbers.items() if "crop" not in k}
        (folder / "preprocessor_config.json").write_text(json.dumps(numbers))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    return model


def _model(kind: str) -> torch.nn.Module:
    t = transformers
    if kind == "bert":
        return t.BertModel(t.BertConfig(vocab_size=320, max_position_embeddings=40, **READER))
    if kind == "roberta":
        return t.RobertaModel(
            t.RobertaConfig(
                vocab_size=320, max_position_embeddings=42, type_vocab_size=1, pad_token_id=1, **READER
            )
        )
    if kind == "vit":
        return t.ViTModel(t.ViTConfig(**VISION))
    if kind == "clip":
        text = {
            "vocab_size": 320,
            "max_position_embeddings": 20,
            "eos_token_id": 2,
            "bos_token_id": 1,
            **READER,
        }
        return t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16))
    if kind == "chinese_clip":
        text = {"vocab_size": 320, "max_position_embeddings": 40, **READER}
        return t.ChineseCLIPModel(
            t.ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
        )
    text = {"vocab_size": 320, "max_position_embeddings": 16, "pad_token_id": 0, **READER, "hidden_size": 32}
    text["num_attention_heads"] = 4
    return t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=VISION))


def openai_names(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of the paper's own code, with maps packed and transposed."""
    state = {
        "visual.class_embedding": theirs["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": theirs["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": theirs["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": theirs["visual_projection.weight"].T,
        "token_embedding.weight": theirs["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": theirs["text_model.embeddings.position_embedding.weight"],
        "text_projection": theirs["text_projection.weight"].T,
        "logit_scale": theirs["logit_scale"],
    }
    for kind in ("weight", "bias"):
        state[f"visual.ln_pre.{kind}"] = theirs[f"vision_model.pre_layrnorm.{kind}"]
        state[f"visual.ln_post.{kind}"] = theirs[f"vision_model.post_layernorm.{kind}"]
        state[f"ln_final.{kind}"] = theirs[f"text_model.final_layer_norm.{kind}"]
        for prefix, tower, depth in (("visual.", "vision_model.", 2), ("", "text_model.", 3)):
            for n in range(depth):
                block, to = f"{tower}encoder.layers.{n}.", f"{prefix}transformer.resblocks.{n}."
                parts = [theirs[f"{block}self_attn.{part}_proj.{kind}"] for part in "qkv"]
                state[f"{to}attn.in_proj_{kind}"] = torch.cat(parts)
                for name, own in (
                    ("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"),
                    ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
                ):  # fmt: skip
                    state[f"{to}{name}.{kind}"] = theirs[f"{block}{own}.{kind}"]
    return {name: tensor.contiguous().clone() for name, tensor in state.items()}
