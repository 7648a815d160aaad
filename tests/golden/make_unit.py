"""Make unit.json: what the paper's own code computes, with seeded weights on padded batches.

Run it from the repository's root with torchvision installed and the folder of a checkout of MMF, of which
only the model's own files are read; what else they import is put in place here:

    python tests/golden/make_unit.py FOLDER
"""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from seeded import state, values
from torch import Tensor, nn

HEADS: dict[str, Any] = {
    "detection": {
        "detection_coco": {"task_idx": 0, "num_classes": 5, "use_attr": False},
        "detection_visual_genome": {"task_idx": 1, "num_classes": 6, "use_attr": True},
    },
    "vl": {
        "vqa2": {"task_idx": 3, "num_labels": 7, "loss_type": "binary_cross_entropy_with_logits"},
        "visual_entailment": {"task_idx": 9, "num_labels": 3, "loss_type": "cross_entropy"},
    },
    "glue": {"glue_sst2": {"task_idx": 7, "num_labels": 2, "loss_type": "cross_entropy"}},
}
QUERIES = {"detection": 6, "vl": 3, "glue": 3}
ATTRIBUTES, DEPTH = 4, 2
BASE: dict[str, Any] = {
    "backbone": "resnet18", "lr_backbone": 1e-5, "dilation": True, "encoder_hidden_dim": 16,
    "decoder_hidden_dim": 24, "nheads": 2, "dim_feedforward": 20, "enc_layers": 2, "dec_layers": DEPTH,
    "dropout": 0.0, "pre_norm": False, "pass_pos_and_query": True, "share_decoders": True,
    "residual_in_encoder": True, "use_task_embedding_in_img_encoder": True,
    "use_task_embedding_in_lang_encoder": True, "aux_loss": True, "use_bcl": False, "set_cost_class": 1.0,
    "set_cost_bbox": 5.0, "set_cost_giou": 2.0, "bbox_loss_coef": 5.0, "giou_loss_coef": 2.0,
    "attr_loss_coef": 1.0, "eos_coef": 0.1, "attribute_class_num": ATTRIBUTES, "max_attribute_num": 16,
}  # fmt: skip
FEW = {"detection": ["detection_coco"], "vl": ["vqa2"], "glue": ["glue_sst2"]}
PLAIN = {
    "dilation": False, "encoder_hidden_dim": 24, "share_decoders": False, "residual_in_encoder": False,
    "use_task_embedding_in_img_encoder": False, "use_task_embedding_in_lang_encoder": False,
}  # fmt: skip
SIZES = [(50, 37), (33, 61)]
IDS = [[1, 17, 5, 29, 9, 3, 2], [1, 8, 2, 0, 0, 0, 0]]
TYPES = [[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0, 0]]
COUNTS = {"detection_coco": (3, 1), "detection_visual_genome": (0, 2)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Config(dict[str, Any]):
    """A dictionary that is read by attributes, too."""

    __getattr__ = dict.__getitem__


def pictures() -> list[Tensor]:
    """uint8 ``[h, w, 3]`` of different sizes."""
    return [
        torch.from_numpy(np.random.RandomState(n).randint(0, 256, (*size, 3)).astype(np.uint8))
        for n, size in enumerate(SIZES)
    ]


def objects(task: str) -> list[dict[str, Tensor]]:
    """Of each picture: classes, boxes, and attributes of which some are -1, in float64."""
    classes, found = HEADS["detection"][task]["num_classes"], []
    for n, count in enumerate(COUNTS[task]):
        drawn = values(f"{task} {n}", (count, 4)).double().sigmoid()
        attributes = torch.full((count, 16), -1)
        for i in range(count - 1):  # the last object has none
            attributes[i, : i + 2] = torch.arange(i + 2)
        labels = torch.arange(count) * 2 % classes
        found.append({"labels": labels, "boxes": drawn * 0.5 + 0.1, "attributes": attributes})
    return found


def stand_in(folder: str) -> Any:
    """The paper's module; what it imports of the rest of MMF is replaced."""
    import torchvision
    from torchvision.models.resnet import Bottleneck, ResNet
    from transformers.models.bert import modeling_bert

    def module(name: str, path: str = "", **members: Any) -> None:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [path] if path else []
        vars(sys.modules[name]).update(members)

    class BaseModel(nn.Module):
        def __init__(self, config: Any) -> None:
            super().__init__()

    class TransformerEncoder(nn.Module):
        def __init__(self, config: Any) -> None:
            super().__init__()
            text = modeling_bert.BertConfig(
                vocab_size=30, hidden_size=20, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=28, max_position_embeddings=11, hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0, attn_implementation="eager",
            )  # fmt: skip
            self.module = modeling_bert.BertModel(text)
            self.embeddings, self.config = self.module.embeddings, text

    class Narrow(Bottleneck):
        expansion = 1

    def resnet(pretrained: bool, **options: Any) -> ResNet:
        return ResNet(Narrow, [1, 2, 1, 2], width_per_group=16, **options)

    torchvision.models.resnet18 = resnet
    registry = SimpleNamespace(register_model=lambda _: lambda kind: kind)
    module("mmf", f"{folder}/mmf")
    module("mmf.models", f"{folder}/mmf/models", BaseModel=BaseModel)
    module("mmf.models.unit", f"{folder}/mmf/models/unit")
    module("mmf.common")
    module("mmf.common.registry", registry=registry)
    module("mmf.modules")
    module("mmf.modules.encoders", TransformerEncoder=TransformerEncoder)
    module("mmf.utils", f"{folder}/mmf/utils")
    module(
        "mmf.utils.distributed",
        byte_tensor_to_object=lambda x: x,
        get_world_size=lambda: 1,
        is_dist_initialized=lambda: False,
    )
    module("transformers3")
    module(
        "transformers3.modeling_bert", BertPredictionHeadTransform=modeling_bert.BertPredictionHeadTransform
    )
    from mmf.models.unit import backbone, unit

    # positions and overlaps in float64, too
    backbone.torch = SimpleNamespace(
        float32=torch.float64, arange=torch.arange, stack=torch.stack, cat=torch.cat
    )
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    return unit


def reference(module: Any, changes: dict[str, Any], tasks: dict[str, Any]) -> Any:
    """The published architecture in this shape, for these tasks of each kind, in float64."""
    queries = Config({kind: Config(dict.fromkeys(own, QUERIES[kind])) for kind, own in tasks.items()})
    config = Config(
        base_args=Config(BASE | changes | {"num_queries": queries, "bert_config": None}),
        base_ckpt_path="", max_task_num=10, heads=Config(HEADS), loss_on_all_hs=False,
        detection_loss_weight=1.0, predict_attributes=True,
        keep_only_bert_cls={
            "vl": {"vqa2": False, "visual_entailment": True}, "glue": {"glue_sst2": True},
        },
    )  # fmt: skip
    model = module.UniT(config)
    model.build()
    model = model.double().eval()
    for loss in model.det_losses.values():
        loss.empty_weight[-1] = BASE["eos_coef"]  # which had been float32
    return model


def weights(model: Any) -> dict[str, Tensor]:
    """Seeded ones by the paper's names, in float64; each tensor once."""
    shared = model.config.base_args.share_decoders
    shapes = [
        (name, list(x.shape))
        for name, x in model.state_dict().items()
        if x.is_floating_point()
        and not name.startswith("bert_model.embeddings")
        and not name.endswith("empty_weight")
        and not (shared and ".decoders." in name)
    ]
    return {name: x.double() for name, x in state(shapes).items()}


def batch(task: str) -> Config:
    """What the model is given for a task, with its targets."""
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    ids = torch.tensor(IDS)
    targets: Any = torch.tensor([1, 0])
    if task == "vqa2":
        targets = values("degrees", (2, 7)).double().sigmoid()
    return Config(
        dataset_name=task,
        dataset_type="val",
        image=[(x.permute(2, 0, 1).double() / 255 - mean) / std for x in pictures()],
        input_ids=ids,
        input_mask=(ids != 0).long(),
        segment_ids=torch.tensor(TYPES),
        targets=targets,
        targets_enc=objects(task) if task in COUNTS else None,
    )


def answers(model: Any, task: str) -> dict[str, Any]:
    """All that is compared, of one task."""
    layers: list[Tensor] = []
    keep = model.unit_base_model.register_forward_hook(lambda *a: layers.extend(a[2]["hidden_states"]))
    out = model(batch(task))
    keep.remove()
    found: dict[str, Any] = {"loss": sum(out["losses"].values()), "first": [x[:, 0] for x in layers]}
    if task not in COUNTS:
        return found | {"logits": out["scores"]}
    criterion = model.det_losses[task]
    parts = criterion(
        {k: v for k, v in out.items() if k in ("pred_logits", "pred_boxes", "hs_for_attr")}, objects(task)
    )
    found |= {
        name: parts[name] for name in ("loss_ce", "loss_bbox", "loss_giou", "loss_attr") if name in parts
    }
    found["matches"] = [
        [pair[0].tolist(), pair[1].tolist()] for pair in criterion.matcher(out, objects(task))
    ]
    found |= {"logits": out["pred_logits"], "boxes": out["pred_boxes"]}
    return found | ({"attributes": out["attr_logits"]} if "attr_logits" in out else {})


def main() -> None:
    """Write the file beside this script."""
    module = stand_in(sys.argv[1])
    file: dict[str, Any] = {"sizes": SIZES, "ids": IDS, "types": TYPES}
    kinds: Any = (("shared", {}, HEADS), ("plain", PLAIN, FEW))
    for kind, changes, tasks in kinds:
        model = reference(module, changes, tasks)
        made = weights(model)
        missing, extra = model.load_state_dict(made, strict=False)
        assert not extra
        assert all(".decoders." in n or "empty_weight" in n or "bert_model.emb" in n for n in missing)
        with torch.inference_mode():
            found = {task: answers(model, task) for own in tasks.values() for task in own}
        file[kind] = {"shapes": [(name, list(x.shape)) for name, x in made.items()], "tasks": rounded(found)}
    Path(__file__).with_name("unit.json").write_text(json.dumps(file) + "\n", encoding="utf-8")


def rounded(x: Any) -> Any:
    """Numbers of 12 significant digits in lists."""
    if isinstance(x, dict):
        return {name: rounded(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [rounded(value) for value in x]
    if isinstance(x, Tensor):
        return rounded(x.tolist())
    return float(f"{x:.12g}") if isinstance(x, float) else x


if __name__ == "__main__":
    main()
