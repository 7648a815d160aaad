"""Families of ``transformers`` that were tried: a tiny random checkpoint of each, by ``chiasm.load``, and the
cosine between its vectors and those of ``transformers``' own pipeline.

    python benchmarks/families.py
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as t
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "checkpoints"))

from published_folders import PICTURES, TEXTS, trained_tokenizer

import chiasm
from chiasm.errors import CheckpointError

T = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
V = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
P = {**PICTURES, "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


@dataclass(frozen=True, kw_only=True)
class Family:
    """``config``: of a tiny model; ``pooling``: how the reference makes its vector of a text or a picture."""

    name: str
    config: Callable[[], Any]
    text: str = ""
    image: str = ""
    numbers: dict[str, Any] = field(default_factory=lambda: P)
    ends: tuple[str, str] = ("[CLS]", "[SEP]")


FAMILIES = (
    Family(
        name="DistilBERT",
        config=lambda: t.DistilBertConfig(vocab_size=320, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
        text="mean",
    ),
    Family(name="MPNet", config=lambda: t.MPNetConfig(**T, max_position_embeddings=66), text="mean"),
    Family(name="ELECTRA", config=lambda: t.ElectraConfig(**T, embedding_size=32), text="mean"),
    Family(name="ALBERT", config=lambda: t.AlbertConfig(**T, embedding_size=16), text="mean"),
    Family(name="DeBERTa v2", config=lambda: t.DebertaV2Config(**T), text="mean"),
    Family(
        name="ModernBERT",
        config=lambda: t.ModernBertConfig(**T, pad_token_id=0, reference_compile=False),
        text="mean",
    ),
    Family(
        name="Qwen 3 embedding",
        config=lambda: t.Qwen3Config(**T, num_key_value_heads=2, head_dim=8, pad_token_id=0),
        text="last",
    ),
    Family(
        name="Mistral (E5-Mistral)",
        config=lambda: t.MistralConfig(**T, num_key_value_heads=2, pad_token_id=0),
        text="last",
    ),
    Family(name="DINOv2", config=lambda: t.Dinov2Config(**V), image="cls"),
    Family(name="DeiT", config=lambda: t.DeiTConfig(**V), image="pooler"),
    Family(
        name="Swin",
        config=lambda: t.SwinConfig(
            image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 4], window_size=4
        ),
        image="pooler",
    ),
    Family(
        name="ConvNeXt",
        config=lambda: t.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32),
        image="pooler",
    ),
    Family(
        name="ResNet",
        config=lambda: t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]),
        image="pooler",
    ),
    Family(
        name="AltCLIP",
        config=lambda: t.AltCLIPConfig(
            text_config={**T, "project_dim": 32, "max_position_embeddings": 66},
            vision_config=V,
            projection_dim=16,
        ),
        text="features",
        image="features",
    ),
    Family(
        name="MetaCLIP 2",
        config=lambda: t.MetaClip2Config(
            text_config={**T, "max_position_embeddings": 40, "eos_token_id": 2},
            vision_config=V,
            projection_dim=16,
        ),
        text="features",
        image="features",
    ),
    Family(
        name="CLIPSeg",
        config=lambda: t.CLIPSegConfig(
            text_config={**T, "max_position_embeddings": 40, "eos_token_id": 2},
            vision_config=V,
            projection_dim=16,
        ),
        text="features",
        image="features",
    ),
    Family(
        name="GroupViT",
        config=lambda: t.GroupViTConfig(
            text_config={**T, "eos_token_id": 2, "max_position_embeddings": 40},
            vision_config={
                **V,
                "depths": [1, 1, 1],
                "num_group_tokens": [8, 4, 0],
                "num_output_groups": [8, 4, 4],
            },
            projection_dim=16,
        ),
        text="features",
        image="features",
    ),
    Family(
        name="ALIGN",
        config=lambda: t.AlignConfig(
            text_config=T,
            vision_config={
                "image_size": 32,
                "width_coefficient": 0.25,
                "depth_coefficient": 0.1,
                "hidden_dim": 64,
            },
            projection_dim=80,
        ),
        text="features",
        image="features",
    ),
    Family(
        name="SigLIP 2 (any size)",
        config=lambda: t.Siglip2Config(
            text_config={**T, "projection_size": 32},
            vision_config={
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "intermediate_size": 48,
                "num_patches": 16,
                "patch_size": 8,
            },
        ),
    ),
    Family(
        name="Qwen 2 VL",
        config=lambda: t.Qwen2VLConfig(
            text_config={**T, "num_key_value_heads": 2},
            vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2},
        ),
    ),
    Family(
        name="T5",
        config=lambda: t.T5Config(vocab_size=320, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4),
    ),
    Family(
        name="wav2vec 2.0",
        config=lambda: t.Wav2Vec2Config(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=48,
            conv_dim=[8, 8],
            conv_stride=[5, 2],
            conv_kernel=[10, 3],
            num_feat_extract_layers=2,
            num_conv_pos_embedding_groups=4,
            num_conv_pos_embeddings=16,
        ),
    ),
)


def picture() -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 256, (50, 71, 3), dtype=np.uint8))


def make(family: Family, folder: Path) -> Any:
    """Write a folder; the reference model."""
    torch.manual_seed(3)
    model = t.AutoModel.from_config(family.config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    trained_tokenizer(*family.ends).save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps(family.numbers))
    return t.AutoModel.from_pretrained(folder).eval()


@torch.no_grad()
def reference(family: Family, model: Any, folder: Path) -> tuple[list[Any], np.ndarray]:
    """What is given, and the vectors of transformers' own pipeline."""
    values: list[Any] = []
    vectors: list[torch.Tensor] = []
    if family.text:
        tokenizer = t.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        for text in TEXTS[:4]:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            values.append(text)
            vectors.append(
                vector(
                    model.get_text_features(**given) if family.text == "features" else model(**given),
                    family.text,
                )
            )
    if family.image:
        processor = t.CLIPImageProcessorPil(**family.numbers)
        pixels = processor(picture(), return_tensors="pt")["pixel_values"]
        values.append(picture())
        vectors.append(
            vector(
                model.get_image_features(pixel_values=pixels)
                if family.image == "features"
                else model(pixel_values=pixels),
                family.image,
            )
        )
    return values, torch.nn.functional.normalize(torch.cat(vectors), dim=-1).numpy()


def vector(answer: Any, pooling: str) -> torch.Tensor:
    if pooling == "features":
        return answer if isinstance(answer, torch.Tensor) else answer.pooler_output
    if pooling == "pooler":
        return answer.pooler_output.flatten(1)
    states = answer.last_hidden_state
    return {"mean": states.mean(dim=1), "last": states[:, -1], "cls": states[:, 0]}[pooling]


def tried(family: Family, folder: Path) -> tuple[str, str]:
    """What it takes; the least cosine to the reference, or why it is refused."""
    model = make(family, folder)
    try:
        ours = chiasm.load(folder, device="cpu")
    except CheckpointError as error:
        return "–", f"refused: {error.en}"
    takes = ", ".join(modality.value for modality in ours.description.modalities)
    if not family.text and not family.image:
        return takes, "loads, but was not compared"
    values, expected = reference(family, model, folder)
    return takes, f"{float((ours.embed(values) * expected).sum(axis=1).min()):.6f}"


def main() -> int:
    """Print the table; 1 where a family that should load does not agree."""
    t.logging.set_verbosity_error()
    wrong = 0
    print("| family | takes | least cosine to transformers, or why not |\n|---|---|---|")
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            takes, found = tried(family, Path(folder))
        print(f"| {family.name} | {takes} | {found} |", flush=True)
        if family.text or family.image:
            wrong += found.startswith("refused") or float(found) < 0.9999
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
