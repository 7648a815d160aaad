"""Our models → folders in the Hugging Face layout, which ``transformers`` loads, and so do we."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from chiasm.checkpoints import layout
from chiasm.checkpoints.folders import Files, card, expect_as_loaded, write_folder
from chiasm.checkpoints.foreign import FILTERS, TOKENIZER, TOKENIZER_CONFIG
from chiasm.checkpoints.shapes import ACTIVATIONS
from chiasm.errors import CheckpointError
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.import_weights import export as export_bert
from chiasm.models.bert.sentence import SentenceEncoder
from chiasm.models.clip.config import ClipConfig, TextConfig
from chiasm.models.clip.import_weights import export as export_clip
from chiasm.models.clip.model import Clip
from chiasm.models.gpt.config import GptConfig
from chiasm.models.gpt.import_weights import export as export_gpt
from chiasm.models.gpt.model import Gpt
from chiasm.models.llama.config import LlamaConfig
from chiasm.models.llama.import_weights import export as export_llama
from chiasm.models.llama.model import Llama
from chiasm.models.vit.config import VitConfig
from chiasm.models.vit.encoder import PictureEncoder
from chiasm.models.vit.import_weights import export as export_vit
from chiasm.nn.blocks import Activation
from chiasm.preprocess import ModelDescription
from chiasm.preprocess.config import ImagePreprocess
from chiasm.settings import Precision

Exportable = SentenceEncoder | PictureEncoder | Clip | Gpt | Llama


def export(
    model: nn.Module,
    folder: Path,
    *,
    about: ModelDescription | None = None,
    tokenizer: bytes = b"",
    precision: Precision = "float32",
) -> None:
    """Write a model as others read it; all of it or nothing.

    Args:
        model: one of :data:`Exportable`, as it was loaded or trained: not packed.
        folder: new, or empty.
        about: what prepares its inputs, and its licence; a decoder has none.
        tokenizer: of a model without ``about``, as JSON.

    Raises:
        CheckpointError: a model without a counterpart, one that was packed, a folder with something in it.
    """
    expect_as_loaded(model)
    config, state, files = _parts(model, about)
    written = about.tokenizer if about is not None else tokenizer
    if written:
        files[TOKENIZER] = written
        most = about.context_length if about is not None else int(config.get("max_position_embeddings", 1024))
        files[TOKENIZER_CONFIG] = {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": most,
        }  # fmt: skip
    kind = getattr(torch, precision)
    files[layout.MANIFEST] = {**config, "dtype": precision}
    files["README.md"] = card("Model") if about is None else card(about.name, about.licence, about.languages)
    write_folder(folder, files, {name: tensor.to(kind) for name, tensor in state.items()})


def _parts(
    model: nn.Module, about: ModelDescription | None
) -> tuple[dict[str, Any], dict[str, Tensor], Files]:
    """Its ``config.json``, its tensors by their published names, and further files."""
    state = model.state_dict()
    match model:
        case SentenceEncoder():
            bert = {name.removeprefix("bert."): tensor for name, tensor in state.items()}
            files = _sentence_files(model, about)
            return {"architectures": ["BertModel"], **_bert(model.bert.config)}, export_bert(bert), files
        case PictureEncoder():
            vit = {name.removeprefix("vit."): tensor for name, tensor in state.items()}
            shape = model.vit.config
            return (
                {"architectures": ["ViTModel"], **_vit(shape)},
                export_vit(vit),
                _pictures(shape, about, "ViT"),
            )
        case Clip():
            config, name = _clip(model.config, _end_of(about)), _name_of(model.config)
            tensors = export_clip(state, siglip=name == "Siglip")
            return config, tensors, _pictures(model.config.vision, about, name.removesuffix("Model"))
        case Gpt():
            return _gpt(model.config), export_gpt(state), {}
        case Llama():
            return _llama(model.config), export_llama(state), {}
    raise CheckpointError(
        f"{type(model).__name__} has no counterpart in transformers",
        f"transformers 中没有与 {type(model).__name__} 对应的模型",
        code="not_exportable",
    )


def _end_of(about: ModelDescription | None) -> int:
    """The last token of a text; CLIP's own without a tokenizer."""
    if about is None or not about.tokenizer:
        return 49_407
    return int(Tokenizer.from_buffer(about.tokenizer).encode("").ids[-1])


def _activation(kind: Activation) -> str:
    return [name for name, ours in ACTIVATIONS.items() if ours == kind][-1]


def _bert(c: BertConfig) -> dict[str, Any]:
    """A RoBERTa becomes a BERT: with its unused positions left out it is one."""
    return {
        "model_type": "bert", "vocab_size": c.vocabulary, "max_position_embeddings": c.positions,
        "type_vocab_size": c.token_types, "hidden_size": c.width, "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads, "intermediate_size": c.hidden, "layer_norm_eps": c.epsilon,
        "hidden_act": _activation(c.activation),
    }  # fmt: skip


def _vit(c: VitConfig) -> dict[str, Any]:
    return {
        "model_type": "vit", "image_size": c.side, "patch_size": c.patch, "hidden_size": c.width,
        "num_hidden_layers": c.depth, "num_attention_heads": c.heads, "intermediate_size": c.hidden,
        "hidden_act": _activation(c.activation), "layer_norm_eps": c.epsilon,
    }  # fmt: skip


def _name_of(c: ClipConfig) -> str:
    if isinstance(c.text, BertConfig):
        return "ChineseCLIP"
    return "Siglip" if c.text.padded else "CLIP"


def _clip(c: ClipConfig, end: int) -> dict[str, Any]:
    name = _name_of(c)
    kind = {"ChineseCLIP": "chinese_clip", "Siglip": "siglip", "CLIP": "clip"}[name]
    text = _bert(c.text) if isinstance(c.text, BertConfig) else _text(c.text, end)
    config: dict[str, Any] = {
        "model_type": kind,
        "architectures": [f"{name}Model"],
        "vision_config": {**_vit(c.vision), "model_type": f"{kind}_vision_model"},
        "text_config": {**text, "model_type": f"{kind}_text_model"},
    }
    if name != "Siglip":
        config["projection_dim"] = c.dim
        config["vision_config"]["projection_dim"] = config["text_config"]["projection_dim"] = c.dim
    if name == "ChineseCLIP":
        del config["text_config"]["projection_dim"]
    return config


def _text(c: TextConfig, end: int) -> dict[str, Any]:
    """``end``: the token whose state stands for a text; a SigLIP takes the last, whatever it is."""
    ends = {"pad_token_id": c.padding} if c.padded else {"eos_token_id": end}
    return {
        "vocab_size": c.vocabulary, "max_position_embeddings": c.positions, "hidden_size": c.width,
        "num_hidden_layers": c.depth, "num_attention_heads": c.heads, "intermediate_size": c.hidden,
        "hidden_act": _activation(c.activation), "layer_norm_eps": c.epsilon, **ends,
    }  # fmt: skip


def _gpt(c: GptConfig) -> dict[str, Any]:
    return {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": c.vocabulary,
        "n_positions": c.positions, "n_embd": c.width, "n_layer": c.depth, "n_head": c.heads,
        "n_inner": c.hidden, "activation_function": _activation(c.activation),
        "layer_norm_epsilon": c.epsilon,
    }  # fmt: skip


def _llama(c: LlamaConfig) -> dict[str, Any]:
    kind = ("qwen2", "Qwen2ForCausalLM") if c.bias else ("llama", "LlamaForCausalLM")
    return {
        "model_type": kind[0], "architectures": [kind[1]], "vocab_size": c.vocabulary,
        "max_position_embeddings": c.positions, "hidden_size": c.width, "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads, "num_key_value_heads": c.key_heads, "intermediate_size": c.hidden,
        "rms_norm_eps": c.epsilon, "tie_word_embeddings": c.tied, "hidden_act": "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": c.base},
        **({} if c.head_width * c.heads == c.width else {"head_dim": c.head_width}),
    }  # fmt: skip


def _sentence_files(model: SentenceEncoder, about: ModelDescription | None) -> Files:
    flag = {
        "mean": "pooling_mode_mean_tokens",
        "cls": "pooling_mode_cls_token",
        "max": "pooling_mode_max_tokens",
    }
    types = ("Transformer", "Pooling", "Normalize")
    modules = [
        {
            "idx": n,
            "name": str(n),
            "path": "" if n == 0 else f"{n}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for n, kind in enumerate(types)
    ]
    pooling = {"word_embedding_dimension": model.bert.config.width, **dict.fromkeys(flag.values(), False)}
    pooling[flag[model.pooling]] = True
    files: Files = {"modules.json": modules, "1_Pooling/config.json": pooling}
    if about is not None:
        files["sentence_bert_config.json"] = {"max_seq_length": about.context_length, "do_lower_case": False}
    return files


def _pictures(shape: VitConfig, about: ModelDescription | None, name: str) -> Files:
    image = ImagePreprocess(side=shape.side, fit="squash") if about is None else about.preprocess.image
    resample = next(number for number, ours in FILTERS.items() if ours == image.filter)
    side = {"height": image.side, "width": image.side}
    numbers: dict[str, Any] = {
        "image_processor_type": f"{name}ImageProcessor", "do_resize": True, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "do_convert_rgb": True, "resample": resample,
        "image_mean": list(shape.mean), "image_std": list(shape.std),
    }  # fmt: skip
    if image.fit == "shortest":
        short = {"shortest_edge": image.resize or image.side}
        numbers |= {"size": short, "do_center_crop": True, "crop_size": side}
    else:
        numbers |= {"size": side, "do_center_crop": False}
    return {"preprocessor_config.json": numbers}
