"""``open_clip_config.json`` of folders as open_clip keeps them → our configuration. What we would compute
differently is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm.checkpoints import layout
from chiasm.checkpoints.foreign import ImageNumbers
from chiasm.checkpoints.shapes import Table
from chiasm.models.clip.config import ClipConfig, TextConfig
from chiasm.models.vit.config import VitConfig
from chiasm.nn.blocks import Activation
from chiasm.preprocess.config import ImagePreprocess

CONFIG = layout.OPEN_CLIP
EPSILON = 1e-5


def is_open_clip(folder: Path) -> bool:
    """Whether a folder is of this layout alone."""
    return (folder / CONFIG).is_file() and not (folder / layout.MANIFEST).is_file()


def open_clip_config(folder: Path) -> tuple[ClipConfig, ImageNumbers]:
    """Both towers, and how pictures are fitted.

    Raises:
        CheckpointError: towers of other kinds (timm's, Hugging Face's, captioners), unknown or impossible
            values.
    """
    whole = Table(layout.read_json(folder / CONFIG), CONFIG)
    numbers = _numbers(whole.table("preprocess_cfg"))
    model = whole.table("model_cfg")
    whole.finish()
    activation: Activation = "quick_gelu" if model.flag("quick_gelu", False) else "gelu"
    model.expect("custom_text", False)
    vision, text = model.table("vision_cfg"), model.table("text_cfg")
    dim = model.number("embed_dim", 512)
    model.finish()
    width = vision.number("width", 768)
    side = vision.number("image_size", 224)
    shape = VitConfig(
        side=side,
        patch=vision.number("patch_size", 16),
        width=width,
        depth=vision.number("layers", 12),
        heads=width // max(1, vision.number("head_width", 64)),
        hidden=int(width * vision.real("mlp_ratio", 4.0)),
        activation=activation,
        epsilon=EPSILON,
        norm_first=True,
        norm_last="pooled",
        patch_bias=False,
        mean=numbers["mean"],
        std=numbers["std"],
    )
    vision.finish()
    text_width = text.number("width", 512)
    read = TextConfig(
        vocabulary=text.number("vocab_size", 49_408),
        positions=text.number("context_length", 77),
        width=text_width,
        depth=text.number("layers", 12),
        heads=text.number("heads", 8),
        hidden=int(text_width * text.real("mlp_ratio", 4.0)),
        activation=activation,
        epsilon=EPSILON,
    )
    text.finish()
    fit = ImagePreprocess(side=side, fit=numbers["fit"], filter=numbers["filter"], trim=False)
    return ClipConfig(vision=shape, text=read, dim=dim), ImageNumbers(
        preprocess=fit, mean=numbers["mean"], std=numbers["std"]
    )


def _numbers(table: Table) -> Mapping[str, Any]:
    table.expect("mode", "RGB")
    table.skip("size")  # the tower's own
    table.skip("fill_color")  # nothing is filled
    mode = table.text("resize_mode", "shortest")
    filter_ = table.text("interpolation", "bicubic")
    if mode not in {"shortest", "squash"}:
        raise table.bad("resize_mode", "shortest or squash", " shortest 或 squash", mode)
    if filter_ not in {"bicubic", "bilinear"}:
        raise table.bad("interpolation", "bicubic or bilinear", " bicubic 或 bilinear", filter_)
    found = {
        "mean": table.three("mean", (0.48145466, 0.4578275, 0.40821073)),
        "std": table.three("std", (0.26862954, 0.26130258, 0.27577711)),
        "fit": mode,
        "filter": filter_,
    }
    table.finish()
    return found
