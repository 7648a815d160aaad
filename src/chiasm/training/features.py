"""What the lower, frozen part of the image trunk says of every view of the plan: computed once, kept on disk.

It never changes, and it is most of the trunk's work: computing it once turns an epoch of the upper part from
an hour into minutes. Shards of 512 views; a shard that exists is not made again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chiasm.data.builders.concepts import Concept
from chiasm.data.builders.plan import Gallery, ViewSpec, paint
from chiasm.data.builders.views import ViewConfig
from chiasm.errors import DataError
from chiasm.models.efficientnet.model import EfficientNet

SHARD = 512
Trunk = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def make_trunk(model: EfficientNet, threads: int) -> Trunk:
    """A function from uint8 pictures ``[b, s, s, 3]`` to (fine maps, pooled features).

    OpenVINO runs it where it is installed (measured: 3 times torch on one AVX2 core, same numbers to 1e-4),
    torch elsewhere.
    """
    module = _Trunk(model).eval()
    if find_spec("openvino") is None:
        return _torch_trunk(module, threads)
    ov = import_module("openvino")
    converted = ov.convert_model(module, example_input=torch.zeros(2, 192, 192, 3, dtype=torch.uint8))
    converted.reshape([-1, 192, 192, 3])
    compiled = ov.compile_model(converted, "CPU", {"INFERENCE_NUM_THREADS": threads})

    def run(pixels: NDArray[np.uint8]) -> tuple[Any, Any]:
        outputs = compiled(pixels)
        return outputs[0], outputs[1]

    return run


class _Trunk(torch.nn.Module):
    def __init__(self, model: EfficientNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels_bhwc: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = (pixels_bhwc.permute(0, 3, 1, 2).to(torch.float32) - 127.0) / 128.0
        features = self.model.features(x)
        return features.fine, features.pooled


def _torch_trunk(module: _Trunk, threads: int) -> Trunk:
    torch.set_num_threads(threads)

    def run(pixels: NDArray[np.uint8]) -> tuple[Any, Any]:
        with torch.inference_mode():
            fine, pooled = module(torch.from_numpy(pixels))
        return fine.numpy(), pooled.numpy()

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
    fine, pooled = (np.concatenate(column) for column in zip(*parts, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, fine=fine, pooled=pooled)
    temporary.replace(path)
    return True


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features of views: the fine maps ``[n, 112, 12, 12]``, what the published trunk makes of them in the
    end, pooled ``[n, 1280]``, and for each row the view's number in the plan."""

    fine: NDArray[np.float16]
    pooled: NDArray[np.float16]
    views: NDArray[np.int64]


def load_features(folder: Path) -> FeatureSet:
    """All shards that there are; training may begin before the last is made."""
    paths = sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9].npz"))
    pooled = []
    for path in paths:
        with np.load(path) as shard:
            pooled.append(shard["pooled"])
    counts = [len(part) for part in pooled]
    # Filled shard by shard: gigabytes are not to be held twice.
    fine: NDArray[np.float16] | None = None
    start = 0
    for path, count in zip(paths, counts, strict=True):
        with np.load(path) as shard:
            maps = shard["fine"]
        if fine is None:
            fine = np.empty((sum(counts), *maps.shape[1:]), dtype=np.float16)
        fine[start : start + count] = maps
        start += count
    if fine is None:
        raise DataError(
            f"expected shards of features in {folder}; run the step features first",
            f"{folder} 中应有特征分片；请先运行 features 步骤",
            param="features",
        )
    views = [int(p.stem) * SHARD + np.arange(n) for p, n in zip(paths, counts, strict=True)]
    return FeatureSet(fine, np.concatenate(pooled), np.concatenate(views))
