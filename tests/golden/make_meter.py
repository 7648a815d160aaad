"""Make meter.json: what the paper's own code computes, with seeded weights on a padded batch.

Run it from the repository's root with the folder of a checkout of the paper's code, which wants a
transformers before 5; what else it imports is put in place here:

    python tests/golden/make_meter.py FOLDER
"""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from seeded import state
from torch import Tensor, nn

CONFIG = {
    "vit": "clip", "tokenizer": "roberta", "vocab_size": 30, "hidden_size": 24, "num_layers": 2,
    "num_heads": 3, "mlp_ratio": 2, "max_text_len": 9, "drop_rate": 0.0, "image_size": 12, "patch_size": 4,
    "input_text_embed_size": 20, "input_image_embed_size": 128, "num_top_layer": 3, "vqav2_label_size": 7,
    "load_path": "", "test_only": False,
    "loss_names": {name: int(name != "irtr") for name in ("mlm", "itm", "vqa", "nlvr2", "snli", "irtr")},
}  # fmt: skip
IDS = [[0, 17, 5, 29, 9, 3, 2], [0, 8, 2, 1, 1, 1, 1], [0, 4, 11, 6, 2, 1, 1]]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def pictures(number: int, side: int = 12) -> Tensor:
    """uint8 ``[3, side, side, 3]``: the first or the second picture of each text."""
    drawn = np.random.RandomState(number).randint(0, 256, (3, side, side, 3))
    return torch.from_numpy(drawn.astype(np.uint8))


def normalised(pixels_bhwc: Tensor) -> Tensor:
    """float64 ``[3, 3, side, side]``, as the paper's transformation makes them."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (MEAN, STD))
    return ((pixels_bhwc.double() / 255 - mean) / std).permute(0, 3, 1, 2)


def stand_in(folder: str) -> Any:
    """The paper's module, its imports of trainers and of pretrained weights replaced."""
    sys.path.insert(0, folder)
    lightning, package = ModuleType("pytorch_lightning"), ModuleType("meter")
    lightning.LightningModule = nn.Module  # type: ignore[attr-defined]
    package.__path__ = [f"{folder}/meter"]
    modules = ModuleType("meter.modules")
    modules.__path__ = [f"{folder}/meter/modules"]
    sys.modules |= {"pytorch_lightning": lightning, "meter": package, "meter.modules": modules}
    for name in ("swin_transformer", "objectives", "meter_utils", "swin_helpers", "dist_utils"):
        sys.modules[f"meter.modules.{name}"] = MagicMock(init_weights=lambda module: None)
        setattr(modules, name, sys.modules[f"meter.modules.{name}"])
    from transformers import file_utils

    file_utils.add_code_sample_docstrings = lambda *_, **__: lambda documented: documented
    from meter.modules import clip_model, meter_module

    clip_model.LayerNorm = nn.LayerNorm  # theirs counts in float32 whatever comes in
    return meter_module


def reference(module: Any, side: int = 12) -> Any:
    """The published architecture in this shape, for pictures of this side, in float64."""
    from transformers import RobertaConfig, RobertaModel

    text = RobertaConfig(
        vocab_size=CONFIG["vocab_size"], hidden_size=20, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=28, max_position_embeddings=11, type_vocab_size=1, layer_norm_eps=1e-5,
        attn_implementation="eager",
    )  # fmt: skip
    module.RobertaModel.from_pretrained = lambda _: RobertaModel(text)
    module.build_model = lambda _, resolution_after: sys.modules["meter.modules.clip_model"].CLIP(
        8, 12, 3, 128, 4, 5, 6, 64, 1, 1, resolution_after
    )
    kind = module.METERTransformerSS
    kind.save_hyperparameters = lambda self: setattr(self, "hparams", MagicMock(config=CONFIG))
    model = kind(CONFIG | {"image_size": side}).eval()
    model.rank_output = nn.Linear(2 * 24, 1)
    return model.double()


def weights(model: Any) -> dict[str, Tensor]:
    """Seeded ones by the paper's names, in float64."""
    shapes = [(name, list(x.shape)) for name, x in model.state_dict().items() if x.is_floating_point()]
    return {name: x.double() for name, x in state(shapes).items()}


def main() -> None:
    """Write the file beside this script."""
    module = stand_in(sys.argv[1])
    model, wide = reference(module), reference(module, 20)
    made = weights(model)
    model.load_state_dict(made, strict=False)
    adapt = sys.modules["meter.modules.clip_model"].adapt_position_encoding
    wide.load_state_dict(adapt(dict(made), patch_size=4, after=20), strict=False)
    ids = torch.tensor(IDS)
    batch: dict[str, Any] = {"text_ids": ids, "text_labels": ids, "text_masks": (ids != 1).long()}
    for n in (0, 1):
        batch[f"image_{n}"] = [normalised(pictures(n))]
    with torch.inference_mode():
        one, two = (model.infer(batch, image_token_type_idx=n) for n in (1, 2))
        pooled = one["cls_feats"]
        found = {
            "text": [x[real] for x, real in zip(one["text_feats"], ids != 1, strict=True)],
            "picture": one["image_feats"],
            "pooled": pooled,
            "wide": wide.infer(batch, img=normalised(pictures(2, 20)))["cls_feats"],
            "words": model.mlm_score(one["text_feats"][:1, 1:3]),
            "matching": model.itm_score(pooled),
            "ranking": model.rank_output(pooled)[:, 0],
            "answers": model.vqa_classifier(pooled),
            "entailment": model.snli_classifier(pooled),
            "verdicts": model.nlvr2_classifier(torch.cat([pooled, two["cls_feats"]], dim=-1)),
        }
    rounded = {
        name: [_rounded(x) for x in values] if isinstance(values, list) else _rounded(values)
        for name, values in found.items()
    }
    file = {"ids": IDS, "shapes": [(name, list(x.shape)) for name, x in made.items()], **rounded}
    Path(__file__).with_name("meter.json").write_text(json.dumps(file) + "\n", encoding="utf-8")


def _rounded(x: Tensor) -> Any:
    if x.dim():
        return [_rounded(row) for row in x]
    return round(float(x), 11)


if __name__ == "__main__":
    main()
