"""The frozen image trunk's features of every view of the plan, computed once and kept on disk.

The trunk is frozen, so that what it says of a view never changes: computing it once turns an epoch of
minutes into one of seconds. Shards of 512 views; a shard that exists is not made again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from chiasm.data.builders.concepts import Concept
from chiasm.data.builders.plan import Gallery, ViewSpec, paint
from chiasm.data.builders.views import ViewConfig
from chiasm.models.efficientnet.model import EfficientNet

SHARD = 512
Trunk = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]


def make_trunk(model: EfficientNet, threads: int) -> Trunk:
    """A function from uint8 pictures ``[b, s, s, 3]`` to (fine, coarse, pooled).

    ``fine`` is averaged over 2 x 2 positions to the grid of ``coarse``. OpenVINO runs it where it is
    installed (measured: 3 times torch on one AVX2 core, same numbers to 1e-4), torch elsewhere.
    """
    module = _Trunk(model).eval()
    if find_spec("openvino") is None:
        return _torch_trunk(module, threads)
    ov = import_module("openvino")
    converted = ov.convert_model(module, example_input=torch.zeros(2, 192, 192, 3, dtype=torch.uint8))
    converted.reshape([-1, 192, 192, 3])
    compiled = ov.compile_model(converted, "CPU", {"INFERENCE_NUM_THREADS": threads})

    def run(pixels: NDArray[np.uint8]) -> tuple[Any, Any, Any]:
        outputs = compiled(pixels)
        return outputs[0], outputs[1], outputs[2]

    return run


class _Trunk(torch.nn.Module):
    def __init__(self, model: EfficientNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels_bhwc: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = (pixels_bhwc.permute(0, 3, 1, 2).to(torch.float32) - 127.0) / 128.0
        features = self.model.features(x)
        return F.avg_pool2d(features.fine, 2), features.coarse, features.pooled


def _torch_trunk(module: _Trunk, threads: int) -> Trunk:
    torch.set_num_threads(threads)

    def run(pixels: NDArray[np.uint8]) -> tuple[Any, Any, Any]:
        with torch.inference_mode():
            fine, coarse, pooled = module(torch.from_numpy(pixels))
        return fine.numpy(), coarse.numpy(), pooled.numpy()

    return run


def write_shard(
    index: int,
    plan: Sequence[ViewSpec],
    *,
    gallery: Gallery,
    concepts: list[Concept],
    trunk: Trunk,
    folder: Path,
    views: ViewConfig,
) -> bool:
    """Make shard ``index`` if it is not there; True if work was done."""
    path = folder / f"{index:05d}.npz"
    specs = plan[index * SHARD : (index + 1) * SHARD]
    if path.exists() or not specs:
        return False
    parts = []
    for start in range(0, len(specs), 32):
        pixels = np.stack([paint(spec, gallery, concepts, views) for spec in specs[start : start + 32]])
        parts.append([a.astype(np.float16) for a in trunk(pixels)])
    fine, coarse, pooled = (np.concatenate(column) for column in zip(*parts, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, fine=fine, coarse=coarse, pooled=pooled)
    temporary.replace(path)
    return True


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features of views: tokens ``[n, 36, 432]`` (coarse 320 | fine 112), pooled ``[n, 1280]``, and for each
    row the view's number in the plan."""

    tokens: NDArray[np.float16]
    pooled: NDArray[np.float16]
    views: NDArray[np.int64]


def load_features(folder: Path) -> FeatureSet:
    """All shards that there are; training may begin before the last is made."""
    tokens, pooled, views = [], [], []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9].npz")):
        with np.load(path) as shard:
            maps = np.concatenate([shard["coarse"], shard["fine"]], axis=1)
            tokens.append(maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1))
            pooled.append(shard["pooled"])
        views.append(int(path.stem) * SHARD + np.arange(len(maps)))
    return FeatureSet(np.concatenate(tokens), np.concatenate(pooled), np.concatenate(views))
