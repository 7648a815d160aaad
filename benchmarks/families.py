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
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "checkpoints"))

from published_folders import PICTURES, TEXTS, trained_tokenizer

import chiasm
from chiasm.errors import CheckpointError
from chiasm.modality import Audio

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
TALKING = {**T, "num_key_value_heads": 2, "max_position_embeddings": 2048}
SEEING = {"patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
PIXELS = {"patch_size": 4, "temporal_patch_size": 2, "min_pixels": 64, "max_pixels": 4096}
HEARING = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "conv_dim": [8, 8], "conv_stride": [5, 2], "conv_kernel": [10, 3], "num_feat_extract_layers": 2,
    "num_conv_pos_embedding_groups": 4, "num_conv_pos_embeddings": 16,
}  # fmt: skip
MEANT = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
TOKENS = {
    "image_token_id": MEANT.index("<|image_pad|>"), "video_token_id": MEANT.index("<|video_pad|>"),
    "vision_start_token_id": MEANT.index("<|vision_start|>"),
    "vision_end_token_id": MEANT.index("<|vision_end|>"),
}  # fmt: skip
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INSTRUCTION = "Represent what the user says."


@dataclass(frozen=True, kw_only=True)
class Family:
    """``config``: of a tiny model; ``text``, ``image``, ``audio``: how the reference makes a vector of each.

    ``processor``: the family's own preparation of pictures or sounds, written to the folder; ``talks``: it
    reads conversations, by a chat template. ``maker``: of the reference model.
    """

    name: str
    config: Callable[[], Any]
    text: str = ""
    image: str = ""
    audio: str = ""
    numbers: dict[str, Any] = field(default_factory=lambda: P)
    ends: tuple[str, str] = ("[CLS]", "[SEP]")
    filled: int = 0
    processor: Callable[[], Any] | None = None
    talks: bool = False
    maker: Any = t.AutoModel

    @property
    def compared(self) -> bool:
        """Whether it should load."""
        return bool(self.text or self.image or self.audio or self.talks)


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
            text_config={**T, "projection_size": 32, "max_position_embeddings": 16, "pad_token_id": 0},
            vision_config={
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "intermediate_size": 48,
                "num_patches": 16,
                "patch_size": 8,
            },
        ),
        text="features",
        image="features",
        ends=("", "</s>"),
        filled=16,
        processor=lambda: t.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=20),
    ),
    Family(
        name="Qwen 2 VL",
        config=lambda: t.Qwen2VLConfig(
            text_config={**TALKING, "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]}},
            vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, **SEEING},
            **TOKENS,
        ),
        talks=True,
        processor=lambda: t.Qwen2VLImageProcessorPil(merge_size=2, **PIXELS),
    ),
    Family(
        name="Qwen 3 VL embedding",
        config=lambda: t.Qwen3VLConfig(
            text_config={
                **TALKING,
                "head_dim": 8,
                "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]},
            },
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_heads": 2,
                "out_hidden_size": 32,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0],
                **SEEING,
            },
            **TOKENS,
        ),
        talks=True,
        processor=lambda: t.Qwen2VLImageProcessorPil(merge_size=2, **PIXELS),
    ),
    Family(
        name="wav2vec 2.0",
        config=lambda: t.Wav2Vec2Config(**HEARING),
        audio="mean",
        processor=t.Wav2Vec2FeatureExtractor,
    ),
    Family(
        name="HuBERT",
        config=lambda: t.HubertConfig(**HEARING),
        audio="mean",
        processor=lambda: t.Wav2Vec2FeatureExtractor(do_normalize=False),
    ),
    Family(
        name="WavLM",
        config=lambda: t.WavLMConfig(**HEARING),
        audio="mean",
        processor=lambda: t.Wav2Vec2FeatureExtractor(return_attention_mask=True),
    ),
    Family(
        name="AST",
        config=lambda: t.ASTConfig(**{**T, "patch_size": 8, "max_length": 64, "num_mel_bins": 32}),
        audio="pooler",
        processor=lambda: t.ASTFeatureExtractor(num_mel_bins=32, max_length=64),
    ),
    Family(
        name="CLAP (fused)",
        config=lambda: t.ClapConfig(
            text_config={**T, "max_position_embeddings": 66, "pad_token_id": 1},
            audio_config={
                "enable_fusion": True,
                "num_mel_bins": 64,
                "spec_size": 256,
                "patch_embeds_hidden_size": 8,
                "hidden_size": 16,
                "depths": [1, 1],
                "num_attention_heads": [2, 4],
            },
            projection_dim=16,
        ),
        text="features",
        audio="features",
        processor=lambda: t.ClapFeatureExtractor(truncation="fusion"),
    ),
    Family(
        name="T5 (its encoder)",
        config=lambda: t.T5Config(vocab_size=320, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4),
        maker=t.T5EncoderModel,
        text="mean",
        ends=("", "</s>"),
    ),
    Family(
        name="BART",
        config=lambda: t.BartConfig(
            vocab_size=320, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4
        ),
    ),
)


def picture() -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 256, (50, 71, 3), dtype=np.uint8))


def sound() -> np.ndarray:
    """Three tenths of a second."""
    time = np.arange(4800) / 16_000
    noise = 0.05 * np.random.default_rng(4).standard_normal(4800)
    return (0.4 * np.sin(2 * np.pi * 300 * time) + noise).astype(np.float32)


def make(family: Family, folder: Path) -> Any:
    """Write a folder; the reference model."""
    torch.manual_seed(3)
    model = (
        t.AutoModel.from_config(family.config())
        if family.maker is t.AutoModel
        else family.maker(family.config())
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if family.talks:
        talking_tokenizer().save_pretrained(folder)
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        about = {"prompts": {"document": INSTRUCTION}, "default_prompt_name": "document"}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(about))
    else:
        trained_tokenizer(*family.ends).save(str(folder / "tokenizer.json"))
    if family.processor is not None:
        family.processor().save_pretrained(folder)
    else:
        (folder / "preprocessor_config.json").write_text(json.dumps(family.numbers))
    return family.maker.from_pretrained(folder).eval()


def talking_tokenizer() -> Any:
    """Byte-level BPE with the tokens that frame what is said."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[*MEANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return t.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=MEANT[0], eos_token=MEANT[2], model_max_length=2048
    )


@torch.no_grad()
def reference(family: Family, model: Any, folder: Path) -> tuple[list[Any], np.ndarray]:
    """What is given, and the vectors of transformers' own pipeline."""
    if family.talks:
        return talked(model, folder)
    values: list[Any] = []
    vectors: list[torch.Tensor] = []
    if family.text:
        tokenizer = t.PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>"
        )
        for text in TEXTS[:4]:
            filled = {"padding": "max_length", "max_length": family.filled} if family.filled else {}
            ids = torch.tensor([tokenizer(text, **filled)["input_ids"]])
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            values.append(text)
            vectors.append(
                vector(
                    model.get_text_features(**given) if family.text == "features" else model(**given),
                    family.text,
                )
            )
    if family.image:
        processor = family.processor() if family.processor else t.CLIPImageProcessorPil(**family.numbers)
        pixels = processor(picture(), return_tensors="pt")
        values.append(picture())
        vectors.append(
            vector(
                model.get_image_features(**pixels) if family.image == "features" else model(**pixels),
                family.image,
            )
        )
    if family.audio and family.processor:
        extractor = family.processor()
        heard = extractor(sound(), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        values.append(Audio(sound(), extractor.sampling_rate))
        answer = model.get_audio_features(**heard) if family.audio == "features" else model(**heard)
        vectors.append(vector(answer, family.audio))
    return values, torch.nn.functional.normalize(torch.cat(vectors), dim=-1).numpy()


def talked(model: Any, folder: Path) -> tuple[list[Any], np.ndarray]:
    """Conversations written out by hand: their last token's state."""
    tokenizer = t.AutoTokenizer.from_pretrained(folder)
    pictures = t.AutoImageProcessor.from_pretrained(folder, backend="pil")
    values: list[Any] = [*TEXTS[:3], picture(), ["what is this?", picture()], [picture(), "a", picture()]]
    vectors = []
    for value in values:
        said, seen = "", []
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str):
                said += part
                continue
            own = pictures(part, return_tensors="pt")
            seen.append(own)
            said += (
                f"<|vision_start|>{'<|image_pad|>' * (int(own['image_grid_thw'].prod()) // 4)}<|vision_end|>"
            )
        text = (
            f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n<|im_start|>user\n{said}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        given = {"input_ids": ids, "mm_token_type_ids": (ids == TOKENS["image_token_id"]).int()}
        given |= {name: torch.cat([own[name] for own in seen]) for name in (seen[0] if seen else {})}
        vectors.append(model(**given).last_hidden_state[:, -1])
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
    if not family.compared:
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
        if family.compared:
            wrong += found.startswith("refused") or float(found) < 0.9999
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
