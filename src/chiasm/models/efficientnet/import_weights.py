"""Published EfficientNet-Lite weights (the layout of ``efficientnet-lite-pytorch``) → ours."""

import re
from collections.abc import Mapping

from torch import Tensor

from chiasm.models.efficientnet.config import EfficientNetConfig

_TOP = {
    "_conv_stem": "stem",
    "_bn0": "stem_norm",
    "_conv_head": "head",
    "_bn1": "head_norm",
    "_fc": "classifier",
}
_INSIDE = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}


def convert(state: Mapping[str, Tensor], config: EfficientNetConfig) -> dict[str, Tensor]:
    """Rename every tensor; the first block, which does not expand, calls its norms one number lower."""
    places = [(s, i) for s, stage in enumerate(config.stages) for i in range(stage.repeats)]
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        match = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
        if match is None:
            name, rest = key.split(".", 1)
            renamed[f"{_TOP[name]}.{rest}"] = value
            continue
        stage, index = places[int(match[1])]
        renamed[f"stages.{stage}.{index}.{_INSIDE[match[2]]}.{match[3]}"] = value
    return renamed
