"""Folders of families that we have not written, by ``transformers`` (extra ``hf``) → a model to embed with.

What prepares the inputs is ours, in processes without torch, where our numbers can say what the family does;
where they cannot, the family's own preparation runs beside the model, on decoded pixels and samples.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from chiasm.checkpoints import abilities
from chiasm.checkpoints.foreign import expect_ids_below, read_tokenizer
from chiasm.checkpoints.processors import LOADING, conversation, whole_pictures
from chiasm.checkpoints.published import read_card, revision_of
from chiasm.errors import CheckpointError
from chiasm.models.foreign.conversation import ForeignConversation
from chiasm.models.foreign.model import ForeignModel
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.config import TextPreprocess
from chiasm.settings import Precision

Foreign = ForeignModel | ForeignConversation
FILLED_UP = frozenset({"siglip2", "siglip_text_model", "siglip2_text_model"})
"""Families whose texts were filled up in training, and looked at what filled them."""
MOST_TOKENS = 1 << 15


@dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    module: Foreign
    preprocess: PreprocessConfig
    tokenizer: bytes


def load_foreign(
    folder: Path, config: Mapping[str, Any], device: torch.device | str, precision: Precision = "float32"
) -> tuple[Foreign, ModelDescription]:
    """Read a folder of any family of ``transformers`` that embeds texts, pictures or sounds.

    Raises:
        CheckpointError: the package is missing, or does not know the family, or the folder wants to run code
            of its own, or what prepares its inputs cannot be loaded.
    """
    known = _known()
    kind = config["model_type"]
    if kind not in known:
        code = "; code that comes with a model is not run" if "auto_map" in config else ""
        code_zh = "；随模型附带的代码不会被执行" if "auto_map" in config else ""
        raise CheckpointError(
            f"config.json: model_type: expected a family that chiasm or transformers has, got {kind!r}{code}",
            f"config.json：model_type 应为 chiasm 或 transformers 所支持的家族，实际为 {kind!r}{code_zh}",
            param="model_type",
        )
    model = _model(folder, kind, precision)
    made = _talking(folder, model, kind) if abilities.talks(model) else _encoding(folder, model, kind)
    module = made.module.to(device).eval().requires_grad_(False)
    if isinstance(module, ForeignModel):
        module.dim = _measured(module, kind, made.preprocess)
    licence, languages = read_card(folder)
    return module, ModelDescription(
        name=folder.resolve().name,
        revision=revision_of(folder),
        dimensions=module.dim,
        modalities=module.modalities,
        context_length=made.preprocess.text.max_tokens,
        capabilities=("embed", "classify"),
        licence=licence,
        languages=languages,
        backend=f"transformers-{torch.device(device).type}-{precision}",
        logit_scale=_scale(model),
        preprocess=made.preprocess,
        tokenizer=made.tokenizer,
    )


def _talking(folder: Path, model: Any, kind: str) -> _Made:
    tokenizer, most = read_tokenizer(folder, _positions(model))
    expect_ids_below(tokenizer, _vocabulary(model))
    module, frame = conversation(folder, model, kind, most)
    words = TextPreprocess(max_tokens=most - frame, words=True)
    return _Made(
        module=module, preprocess=PreprocessConfig(text=words, image=whole_pictures()), tokenizer=tokenizer
    )


def _encoding(folder: Path, model: Any, kind: str) -> _Made:
    preprocess = PreprocessConfig()
    able = abilities.of(folder, model, kind)
    text, image, audio = able.text, able.image, able.audio
    tokenizer, most = b"", 512
    if text:
        tokenizer, most = read_tokenizer(folder, _positions(model))
        expect_ids_below(tokenizer, _vocabulary(model))
        preprocess = replace(preprocess, text=TextPreprocess(max_tokens=most))
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    own_image = own_audio = None
    if image and able.numbers is not None:
        mean, std = able.numbers.mean, able.numbers.std
        preprocess = replace(preprocess, image=able.numbers.preprocess)
    elif image:
        own_image, preprocess = able.own_image, replace(preprocess, image=whole_pictures())
    if audio and able.sound is not None:
        own_audio, preprocess = able.own_audio, replace(preprocess, audio=able.sound)
    module = ForeignModel(
        model,
        0,
        text=text,
        image=image,
        audio=audio,
        padding=_padding(model),
        filled=most if kind in FILLED_UP and text else 0,
        mean=mean,
        std=std,
        own_image=own_image,
        own_audio=own_audio,
    )
    return _Made(module=module, preprocess=preprocess, tokenizer=tokenizer)


def _known() -> Mapping[str, Any]:
    try:
        from transformers import CONFIG_MAPPING  # noqa: PLC0415
    except ImportError as error:
        raise CheckpointError(
            "expected one of chiasm's own families, or the package transformers; install chiasm[hf]",
            "应为 chiasm 自有的模型家族，或安装 transformers：请安装 chiasm[hf]",
            param="model.source",
            code="extra_missing",
        ) from error
    known: Mapping[str, Any] = CONFIG_MAPPING
    return known


def _model(folder: Path, kind: str, precision: Precision) -> Any:
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoConfig, AutoModel  # noqa: PLC0415

    try:
        shape = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        maker: Any = AutoModel
        encoder: Any = MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(shape), None)
        alone = encoder is not None and encoder.__name__ in (shape.architectures or ())
        if encoder is not None and (alone or getattr(shape, "is_encoder_decoder", False)):
            maker = encoder  # what reads a text is the encoder alone
        model, told = maker.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            dtype=getattr(torch, precision),
        )
    except (*LOADING, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{kind}: transformers cannot load it: {reason}",
            f"{kind}：transformers 无法加载：{reason}",
            param="config.json",
        ) from error
    missing = sorted(
        name for name in told["missing_keys"] if "pooler" not in name and "position_ids" not in name
    )
    if missing or told["mismatched_keys"]:
        wrong = missing or sorted(str(one[0]) for one in told["mismatched_keys"])
        raise CheckpointError(
            f"expected the tensors {wrong[:5]}, got none that fit",
            f"缺少张量 {wrong[:5]}，或形状不符",
            param=wrong[0],
        )
    model.loaded_pooler = not any("pooler" in name for name in told["missing_keys"])
    return model


def _positions(model: Any) -> int:
    for config in (getattr(model.config, "text_config", None), model.config):
        for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
            value = getattr(config, name, None)
            if isinstance(value, int) and value >= 4:
                return min(MOST_TOKENS, value - _unused_positions(config))
    return 512


def _unused_positions(config: Any) -> int:
    """RoBERTa's kin count from behind the number of their padding token."""
    kin = ("roberta", "camembert", "mpnet", "longformer", "altclip", "data2vec-text", "xmod")
    padding = getattr(config, "pad_token_id", None)
    like = any(name in str(getattr(config, "model_type", "")) for name in kin)
    return int(padding) + 1 if like and isinstance(padding, int) else 0


def _vocabulary(model: Any) -> int:
    for config in (getattr(model.config, "text_config", None), model.config):
        if isinstance(found := getattr(config, "vocab_size", None), int):
            return found
    return 0


def _padding(model: Any) -> int:
    config = getattr(model.config, "text_config", None) or model.config
    found = getattr(config, "pad_token_id", None)
    return found if isinstance(found, int) and found >= 0 else 0


def _scale(model: nn.Module) -> float:
    found = getattr(model, "logit_scale", None)
    return float(found.detach().float().exp().reshape(-1)[0]) if isinstance(found, torch.Tensor) else 1.0


@torch.inference_mode()
def _measured(module: ForeignModel, kind: str, preprocess: PreprocessConfig) -> int:
    """The width of the vectors: of one of each kind, which must agree."""
    device = next(module.parameters()).device
    shapes: list[torch.Size] = []
    if module.text:
        ids = torch.full((1, 4), max(3, module.padding + 1), device=device)
        shapes.append(module.encode_text(ids, torch.ones_like(ids, dtype=torch.bool)).shape)
    if module.image:
        side = abilities.SEEN if module.own_image else preprocess.image.side
        shapes.append(module.encode_image(torch.zeros((1, side, side, 3), dtype=torch.uint8)).shape)
    if module.audio:
        second = np.zeros(preprocess.audio.rate, np.float32)
        shapes.append(module.encode_audio([second]).shape)
    widths = {shape[-1] for shape in shapes}
    if any(len(shape) != 2 for shape in shapes) or len(widths) != 1:
        found = [list(shape) for shape in shapes]
        raise CheckpointError(
            f"{kind}: expected one vector each, all in one space, got {found}",
            f"{kind}：每项应得到一个向量，且在同一空间，实际形状为 {found}",
            param="model_type",
        )
    return widths.pop()
