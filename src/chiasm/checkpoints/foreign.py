"""The files of published folders: weights, tokenizer, numbers of the pictures' preprocessing."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from torch import Tensor

from chiasm.checkpoints import layout
from chiasm.errors import CheckpointError
from chiasm.preprocess.config import Filter, ImagePreprocess

SAFE, SHARDS, PICKLE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
OPEN_CLIP = "open_clip_model"
"""How open_clip names its weights."""
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
FILTERS: Mapping[int, Filter] = {
    0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"
}  # fmt: skip
_MOST_TOKENS = 1 << 15
_WITHIN = ("state_dict", "model")
"""Where frameworks of training keep a model's tensors (PyTorch Lightning; MMF and many others)."""

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ImageNumbers:
    """How pictures are fitted, and the mean and deviation of their channels.

    Raises:
        CheckpointError: a deviation that is not above 0.
    """

    preprocess: ImagePreprocess
    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        if not all(value > 0 for value in self.std):
            raise _bad_image("image_std", "numbers above 0", "正数", self.std)


def read_state(folder: Path) -> dict[str, Tensor]:
    """All tensors in float32. Pickles are only read as plain tensors, never run.

    Raises:
        CheckpointError: no weights, damaged ones, or a pickle of anything but tensors.
    """
    state: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        for name, tensor in read_tensors(path).items():
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def _weight_files(folder: Path) -> list[Path]:
    for name in (SAFE, f"{OPEN_CLIP}.safetensors"):
        if (folder / name).is_file():
            return [folder / name]
    if (folder / SHARDS).is_file():
        table = layout.read_json(folder / SHARDS).get("weight_map")
        names = set(table.values()) if isinstance(table, dict) else set()
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise CheckpointError(
                f"{SHARDS}: expected a weight_map of file names in this folder",
                f"{SHARDS}：weight_map 应为本目录中的文件名",
                param=SHARDS,
            )
        return [folder / name for name in sorted(names)]
    for name in (PICKLE, f"{OPEN_CLIP.replace('model', 'pytorch_model')}.bin"):
        if (folder / name).is_file():
            return [folder / name]
    raise CheckpointError(
        f"expected {SAFE}, {SHARDS} or {PICKLE} in {folder}, got none of them",
        f"{folder} 中应有 {SAFE}、{SHARDS} 或 {PICKLE}，实际都没有",
        param=SAFE,
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors or a pickle, which is only read as plain data, never run.

    Of what a training run saved, its model's ``state_dict`` is taken, whatever else is there.

    Raises:
        CheckpointError: no such file, a damaged one, or one of anything else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path.name}: expected a file of tensors, got: {str(error).splitlines()[0][:200]}",
            f"{path.name}：应为张量文件：{str(error).splitlines()[0][:200]}",
            param=path.name,
        ) from None
    for key in _WITHIN:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(
            f"{path.name}: expected a table of tensors", f"{path.name}：应为张量的表", param=path.name
        )
    return found


def read_tokenizer(folder: Path, most: int) -> tuple[bytes, int]:
    """The tokenizer as JSON and the number of tokens that a text may have, at most ``most``.

    Raises:
        CheckpointError: neither ``tokenizer.json`` nor a BERT's ``vocab.txt``, or unreadable ones.
    """
    config = _optional(folder / TOKENIZER_CONFIG)
    limits = [
        most,
        config.get("model_max_length"),
        _optional(folder / "sentence_bert_config.json").get("max_seq_length"),
    ]
    allowed = min(
        int(limit) for limit in limits if isinstance(limit, int | float) and 4 <= limit <= _MOST_TOKENS
    )
    if (folder / TOKENIZER).is_file():
        return (folder / TOKENIZER).read_bytes(), allowed
    if (folder / "vocab.txt").is_file():
        return _word_pieces(folder / "vocab.txt", config), allowed
    raise CheckpointError(
        f"expected {TOKENIZER} or vocab.txt in {folder}, got neither",
        f"{folder} 中应有 {TOKENIZER} 或 vocab.txt，实际都没有",
        param=TOKENIZER,
    )


def expect_ids_below(tokenizer: bytes, vocabulary: int) -> Tokenizer:
    """The tokenizer, if the model has a row for each of its tokens.

    Raises:
        CheckpointError: it is another model's, or none.
    """
    try:
        found = Tokenizer.from_buffer(tokenizer)
    except Exception as error:  # the binding raises bare Exception
        raise CheckpointError(
            f"{TOKENIZER}: expected a tokenizer, got: {error}",
            f"{TOKENIZER}：应为分词器：{error}",
            param=TOKENIZER,
        ) from error
    largest = max(found.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= vocabulary:
        raise CheckpointError(
            f"tokenizer: expected ids below {vocabulary}, got {largest}: it is another model's",
            f"分词器的编号应小于模型词表大小 {vocabulary}，实际有 {largest}：它属于别的模型",
            param=TOKENIZER,
        )
    return found


def _word_pieces(path: Path, config: Mapping[str, Any]) -> bytes:
    try:
        lowercase = bool(config.get("do_lower_case", True))
        return str(BertWordPieceTokenizer(str(path), lowercase=lowercase).to_str()).encode()
    except Exception as error:  # the binding raises bare Exception
        raise CheckpointError(
            f"vocab.txt: expected the words of a BERT, got: {error}",
            f"vocab.txt：应为 BERT 词表：{error}",
            param="vocab.txt",
        ) from error


def read_image_numbers(folder: Path) -> ImageNumbers:
    """``preprocessor_config.json``, or the same within ``processor_config.json``.

    Raises:
        CheckpointError: steps that we do not take, or numbers that make no sense.
    """
    found = _optional(folder / "preprocessor_config.json")
    found = found or _optional(folder / "processor_config.json").get("image_processor", {})
    if not isinstance(found, Mapping) or not found:
        raise _bad_image("image preprocessing", "a table", "一个表", found)
    if found.get("do_resize", True) is not True or found.get("do_normalize", True) is not True:
        raise _bad_image(
            "do_resize, do_normalize", "true", " true", (found.get("do_resize"), found.get("do_normalize"))
        )
    if abs(found.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-6:
        raise _bad_image("rescale_factor", "1/255", " 1/255", found["rescale_factor"])
    resample = found.get("resample", 3)
    if resample not in FILTERS:
        raise _bad_image("resample", f"one of {list(FILTERS)}", f" {list(FILTERS)} 之一", resample)
    return ImageNumbers(
        preprocess=_fit(found, FILTERS[resample]),
        mean=_triple(found, "image_mean", (0.5, 0.5, 0.5)),
        std=_triple(found, "image_std", (0.5, 0.5, 0.5)),
    )


def _fit(found: Mapping[str, Any], filter_: Filter) -> ImagePreprocess:
    size = _sides(found, "size")
    crops = found.get("do_center_crop", "crop_size" in found)
    if len(size) == 1 and crops:
        crop = _sides(found, "crop_size" if "crop_size" in found else "size")
        if len(set(crop)) != 1 or size[0] < crop[0]:
            raise _bad_image(
                "crop_size", "a square within the size", "不超过 size 的正方形", found.get("crop_size")
            )
        return ImagePreprocess(side=crop[0], fit="shortest", resize=size[0], filter=filter_, trim=False)
    if crops or len(set(size)) != 1:
        raise _bad_image(
            "size", "a square, or a shortest edge and a crop", "正方形，或最短边与裁剪", found.get("size")
        )
    return ImagePreprocess(side=size[0], fit="squash", filter=filter_, trim=False)


def _sides(found: Mapping[str, Any], key: str) -> tuple[int, ...]:
    """``(shortest edge,)`` or ``(height, width)``."""
    value = found.get(key, 224)
    if isinstance(value, Mapping):
        names = ("shortest_edge",) if "shortest_edge" in value else ("height", "width")
        sides = tuple(value.get(name) for name in names)
    else:
        # a plain number is the shortest edge where a crop follows, else both sides
        sides = (value,) if key == "size" and found.get("do_center_crop") else (value, value)
    if not all(type(side) is int and 8 <= side <= 4096 for side in sides):
        raise _bad_image(key, "pixels", "像素数", value)
    return tuple(int(side) for side in sides if side is not None)


def _triple(found: Mapping[str, Any], key: str, default: Triple) -> Triple:
    value = found.get(key, default)
    if (
        not isinstance(value, list | tuple)
        or len(value) != 3
        or not all(type(v) in {int, float} for v in value)
    ):
        raise _bad_image(key, "three numbers", "三个数", value)
    return float(value[0]), float(value[1]), float(value[2])


def _optional(path: Path) -> Mapping[str, Any]:
    return layout.read_json(path) if path.is_file() else {}


def _bad_image(key: str, wanted: str, wanted_zh: str, got: object) -> CheckpointError:
    return CheckpointError(
        f"preprocessor_config.json: {key}: expected {wanted}, got {got!r}",
        f"preprocessor_config.json：{key} 应为{wanted_zh}，实际为 {got!r}",
        param="preprocessor_config.json",
    )
