"""Folders of families that we have not written, by ``transformers`` (extra ``hf``) → a model to embed with.

What prepares the inputs is ours all the same, in processes without torch: so the family's preparation must be
sayable in our numbers. What is not is refused by name.
"""

import inspect
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from chiasm.checkpoints.foreign import ImageNumbers, expect_ids_below, read_image_numbers, read_tokenizer
from chiasm.checkpoints.published import PICTURES, POOLINGS, read_card, read_pooling, revision_of
from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.models.foreign.model import ForeignModel, ForeignPooling
from chiasm.preprocess import ModelDescription, PreprocessConfig
from chiasm.preprocess.config import ImagePreprocess, TextPreprocess
from chiasm.settings import Precision

FOREIGN_POOLINGS = {**POOLINGS, "pooling_mode_lasttoken": "last"}
FILLED_UP = frozenset({"siglip2", "siglip_text_model", "siglip2_text_model"})
"""Families whose texts were filled up in training, and looked at what filled them."""
MOST_TOKENS = 1 << 15
_LOADING = (OSError, ValueError, RuntimeError, TypeError, AttributeError, LookupError, ImportError)
# arguments that models have defaults for, or that both sides agree on
_GIVEN = {"self", "input_ids", "attention_mask", "pixel_values", "kwargs", "args"}


def load_foreign(
    folder: Path, config: Mapping[str, Any], device: torch.device | str, precision: Precision = "float32"
) -> tuple[ForeignModel, ModelDescription]:
    """Read a folder of any family of ``transformers`` that embeds texts or pictures.

    Raises:
        CheckpointError: the package is missing, or does not know the family, or the folder wants to run code
            of its own, or the inputs cannot be prepared by our numbers.
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
    if kind in FILLED_UP:
        raise CheckpointError(
            f"{kind}: expected a model that reads a text as long as it is, got one that reads it filled up",
            f"{kind}：该模型要求把文本填充到固定长度，不受支持",
            param="model_type",
        )
    text, image = _abilities(folder, model, kind)
    numbers = read_image_numbers(folder) if image else None
    most = _positions(model)
    tokenizer, most = read_tokenizer(folder, most) if text else (b"", most)
    if text:
        expect_ids_below(tokenizer, _vocabulary(model))
    module = ForeignModel(
        model,
        0,
        text=text,
        image=image,
        padding=_padding(model),
        mean=numbers.mean if numbers else (0.5, 0.5, 0.5),
        std=numbers.std if numbers else (0.5, 0.5, 0.5),
    )
    module = module.to(device).eval().requires_grad_(False)
    module.dim = _measured(module, kind, numbers)
    licence, languages = read_card(folder)
    return module, ModelDescription(
        name=folder.resolve().name,
        revision=revision_of(folder),
        dimensions=module.dim,
        modalities=module.modalities,
        context_length=most,
        capabilities=("embed", "classify"),
        licence=licence,
        languages=languages,
        backend=f"transformers-{torch.device(device).type}-{precision}",
        logit_scale=_scale(model),
        preprocess=PreprocessConfig(
            text=TextPreprocess(max_tokens=most), image=numbers.preprocess if numbers else ImagePreprocess()
        ),
        tokenizer=tokenizer,
    )


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
    from transformers import AutoModel  # noqa: PLC0415

    try:
        model, told = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            dtype=getattr(torch, precision),
        )
    except (*_LOADING, pickle.UnpicklingError) as error:
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


def _abilities(folder: Path, model: Any, kind: str) -> tuple[ForeignPooling | None, ForeignPooling | None]:
    """What it takes, and what of its answers is the vector."""
    text: ForeignPooling | None = None
    image: ForeignPooling | None = None
    if hasattr(model, "get_text_features") or hasattr(model, "get_image_features"):
        text = "features" if _takes(model, "get_text_features", "input_ids") else None
        image = "features" if _takes(model, "get_image_features", "pixel_values") else None
    elif model.main_input_name == "input_ids" and _simple(model.forward, "input_ids") and not _seq2seq(model):
        decoder = not any(hasattr(model, name) for name in ("encoder", "layers_encoder")) and _causal(model)
        otherwise = "last" if decoder else "mean"
        text = cast(
            ForeignPooling, read_pooling(folder, model.config.hidden_size, FOREIGN_POOLINGS, otherwise)
        )
    elif model.main_input_name == "pixel_values" and _simple(model.forward, "pixel_values"):
        image = _picture_pooling(model, read_image_numbers(folder).preprocess.side)
    if text is None and image is None:
        raise CheckpointError(
            f"{kind}: expected a model of texts or of pictures of one size, got one whose inputs are others: "
            f"{sorted(set(inspect.signature(model.forward).parameters) - _GIVEN)[:6]}",
            f"{kind}：只支持以文本或固定大小的图片为输入的模型",
            param="model_type",
        )
    return text, image


def _takes(model: Any, name: str, given: str) -> bool:
    return hasattr(model, name) and _simple(getattr(model, name), given)


def _simple(method: Callable[..., Any], given: str) -> bool:
    """Whether it needs nothing else."""
    parameters = inspect.signature(method).parameters
    needed = {
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
    }
    others = {"image_grid_thw", "spatial_shapes", "pixel_attention_mask", "aspect_ratio_ids", "image_sizes"}
    return given in parameters and needed <= {given, "self"} and not others & set(parameters)


def _seq2seq(model: Any) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def _causal(model: Any) -> bool:
    """A decoder's last token has seen all; its name is in the list of language models."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING  # noqa: PLC0415

    kind = type(model.config)
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING


@torch.inference_mode()
def _picture_pooling(model: Any, side: int) -> ForeignPooling:
    """The pooler's output if there is one whose weights were there; else the class token, else the mean."""
    kind = next(model.parameters()).dtype
    answer = model(pixel_values=torch.zeros((1, 3, side, side), dtype=kind))
    if getattr(answer, "pooler_output", None) is not None and model.loaded_pooler:
        return "pooler"
    has_token = hasattr(getattr(model, "embeddings", None), "cls_token")
    return "cls" if has_token and answer.last_hidden_state.dim() == 3 else "mean"


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
def _measured(module: ForeignModel, kind: str, numbers: ImageNumbers | None) -> int:
    """The width of the vectors: of one of each kind, which must agree."""
    device = next(module.parameters()).device
    widths: dict[Modality, int] = {}
    if module.text:
        ids = torch.full((1, 4), max(3, module.padding + 1), device=device)
        widths[Modality.TEXT] = module.encode_text(ids, torch.ones_like(ids, dtype=torch.bool)).shape[-1]
    if module.image and numbers is not None:
        side = numbers.preprocess.side
        widths[PICTURES[0]] = module.encode_image(torch.zeros((1, side, side, 3), dtype=torch.uint8)).shape[
            -1
        ]
    if len(set(widths.values())) != 1:
        raise CheckpointError(
            f"{kind}: expected texts and pictures in one space, got {sorted(widths.values())} dimensions",
            f"{kind}：文本与图片应在同一空间，实际维数为 {sorted(widths.values())}",
            param="model_type",
        )
    return next(iter(widths.values()))
