"""The image stage: the head over the frozen trunk learns drawings, colours, scenes and, from the trunk's own
classifier, photographs.

All targets are text vectors. Pictures of one thing: cross-entropy against the names of all things, in
English and as the text tower reads the Chinese ones; and its keywords ("fruit" for an apple) against others.
Dyed things: against the same thing in all eleven colours. Scenes: against the captions of the batch.
Photographs: the published classifier's probabilities over its 1,000 names on synthetic maps (see
``training.distil``), in both languages, and the kinds that its classes belong to ("dog" for a Chihuahua).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.models.mini.image import ImageHead
from chiasm.nn.losses import anchored_cross_entropy, info_nce, soft_cross_entropy
from chiasm.training.distil import Synthetic
from chiasm.training.features import FeatureSet
from chiasm.training.loop import cosine_rate


@dataclass(frozen=True, kw_only=True)
class ImageStageConfig:
    """How many of each kind a batch has, and the weights of their losses."""

    steps: int = 2400
    single: int = 128
    clipart: int = 40
    coloured: int = 32
    scenes: int = 32
    synthetic: int = 64
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.05
    scale: float = 25.0
    smoothing: float = 0.05
    pooled_weight: float = 0.4
    chinese_weight: float = 0.5
    keyword_weight: float = 0.3
    synthetic_weight: float = 0.8
    kind_weight: float = 0.3
    coloured_weight: float = 0.3
    scene_weight: float = 0.3
    drop_fine: float = 0.3
    drop_pooled: float = 0.1
    seed: int = 5


@dataclass(frozen=True, kw_only=True)
class ImageTargets:
    """Row numbers into the features, and what they are to be near to.

    Attributes:
        names: unit vectors [n, d] of all training names: m concepts first, then clip-art titles.
        chinese: [m, d] of the concepts' Chinese names.
        keywords: [k, d] of the concepts' English keywords; keyword_of: bool [m, k].
        single, single_name: rows of concept pictures and their index in ``names``. clipart likewise.
        coloured, colour_texts: rows of dyed pictures; vectors [m, 11, d] of the thing in every colour, the
            right one first.
        scenes, captions: rows of scenes and their captions' vectors.
        classes, chinese_classes: [1000, d]. kinds: vectors [k, d] of hypernyms; kind_of: bool [1000, k].
    """

    names: NDArray[np.float32]
    chinese: NDArray[np.float32]
    keywords: NDArray[np.float32]
    keyword_of: NDArray[np.bool_]
    single: NDArray[np.int64]
    single_name: NDArray[np.int64]
    clipart: NDArray[np.int64]
    clipart_name: NDArray[np.int64]
    coloured: NDArray[np.int64]
    colour_texts: NDArray[np.float32]
    scenes: NDArray[np.int64]
    captions: NDArray[np.float32]
    classes: NDArray[np.float32]
    chinese_classes: NDArray[np.float32]
    kinds: NDArray[np.float32]
    kind_of: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Features [b, …] of all pictures of a step, one kind behind the other, and the rows of their targets."""

    tokens: Tensor
    pooled: Tensor
    single: Tensor
    coloured: NDArray[np.int64]
    scenes: NDArray[np.int64]
    synthetic: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Check:
    """A labelled set: rows of the features, the gallery [g, d], and each row's index in it."""

    rows: NDArray[np.int64]
    gallery: NDArray[np.float32]
    label: NDArray[np.int64]


class ImageStage:
    """See the module."""

    name = "image"
    clip = 5.0

    def __init__(
        self,
        module: ImageHead,
        *,
        features: FeatureSet,
        targets: ImageTargets,
        synthetic: Synthetic,
        checks: Mapping[str, Check],
        config: ImageStageConfig,
    ) -> None:
        self.module = module
        self.features = features
        self.targets = targets
        self.synthetic = synthetic
        self.checks = checks
        self.config = config
        self.steps = config.steps
        self._tensors = {
            name: torch.from_numpy(value).to(self.device)
            for name, value in (
                ("names", targets.names),
                ("chinese", targets.chinese),
                ("keywords", targets.keywords),
                ("keyword_of", targets.keyword_of),
                ("colours", targets.colour_texts),
                ("captions", targets.captions),
                ("classes", targets.classes),
                ("chinese_classes", targets.chinese_classes),
                ("kinds", targets.kinds),
                ("kind_of", targets.kind_of),
            )
        }

    @property
    def device(self) -> torch.device:
        """Where the head is."""
        return self.module.position.device

    def optimiser(self) -> torch.optim.Optimizer:
        matrices = [p for p in self.module.parameters() if p.ndim > 1]
        vectors = [p for p in self.module.parameters() if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.98))

    def learning_rate(self, step: int) -> float:
        return cosine_rate(step, self.steps, self.config.learning_rate, 50)

    def batch(self, step: int) -> ImageBatch:
        c, t = self.config, self.targets
        rng = np.random.default_rng((c.seed, step))
        single = rng.integers(len(t.single), size=c.single)
        clipart = rng.integers(len(t.clipart), size=c.clipart)
        coloured = rng.integers(len(t.coloured), size=c.coloured)
        scenes = rng.integers(len(t.scenes), size=c.scenes)
        synthetic = rng.integers(len(self.synthetic.maps), size=c.synthetic)
        rows = np.concatenate([t.single[single], t.clipart[clipart], t.coloured[coloured], t.scenes[scenes]])
        tokens = self.features.tokens[rows].astype(np.float32)
        tokens[rng.random(len(rows)) < c.drop_fine, :, self.module.config.coarse :] = 0.0
        made = self.synthetic.maps[synthetic].astype(np.float32)
        made = made.reshape(*made.shape[:2], -1).transpose(0, 2, 1)
        blank = np.zeros((*made.shape[:2], self.module.config.fine), dtype=np.float32)
        drawn = self.features.pooled[rows].astype(np.float32)
        drawn *= (rng.random(drawn.shape) >= c.drop_pooled) / np.float32(1 - c.drop_pooled)
        pooled = np.concatenate([drawn, self.synthetic.pooled[synthetic].astype(np.float32)])
        return ImageBatch(
            tokens=torch.from_numpy(np.concatenate([tokens, np.concatenate([made, blank], axis=2)])),
            pooled=torch.from_numpy(pooled),
            single=torch.from_numpy(np.concatenate([t.single_name[single], t.clipart_name[clipart]])),
            coloured=coloured,
            scenes=scenes,
            synthetic=synthetic,
        )

    def loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        c = self.config
        pooled_bc = batch.pooled.to(self.device)
        vectors, _ = self.module(batch.tokens.to(self.device), pooled_bc)
        first = self.module.pooled_vector(pooled_bc)
        sizes = [len(batch.single), len(batch.coloured), len(batch.scenes), len(batch.synthetic)]
        single, coloured, scenes, synthetic = torch.split(vectors, sizes)
        first_single, _, _, first_synthetic = torch.split(first, sizes)
        label = batch.single.to(self.device)
        names = self._tensors["names"]
        return {
            "names": anchored_cross_entropy(single, names, label, c.scale, c.smoothing),
            "pooled": c.pooled_weight
            * anchored_cross_entropy(first_single, names, label, c.scale, c.smoothing),
            **self._concepts(single, label),
            "colours": c.coloured_weight * self._colours(coloured, batch.coloured),
            "scenes": c.scene_weight * info_nce(scenes, self._tensors["captions"][batch.scenes], c.scale),
            "photographs": c.synthetic_weight * self._photographs(synthetic, batch.synthetic),
            "pooled photographs": c.synthetic_weight
            * c.pooled_weight
            * self._photographs(first_synthetic, batch.synthetic),
        }

    def _concepts(self, vectors: Tensor, label: Tensor) -> dict[str, Tensor]:
        """What is known of concepts, but not of clip art: Chinese names and keywords."""
        c, tensors = self.config, self._tensors
        known = label < len(tensors["chinese"])
        z, own = F.normalize(vectors[known], dim=-1), label[known]
        keywords = _each_positive(c.scale * z @ tensors["keywords"].T, tensors["keyword_of"][own])
        return {
            "chinese": c.chinese_weight
            * anchored_cross_entropy(z, tensors["chinese"], own, c.scale, c.smoothing),
            "keywords": c.keyword_weight * keywords,
        }

    def _colours(self, vectors: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The right colour comes first among the eleven; other things of the batch are negatives too."""
        texts = self._tensors["colours"][rows]
        z = F.normalize(vectors, dim=-1)
        own = torch.einsum("bd,bkd->bk", z, texts)
        others = z @ texts[:, 0].T
        others = others.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -1.0)
        logits = self.config.scale * torch.cat([own, others], dim=1)
        return F.cross_entropy(logits, torch.zeros(len(z), dtype=torch.long, device=z.device))

    def _photographs(self, vectors: Tensor, rows: NDArray[np.int64]) -> Tensor:
        probabilities = torch.from_numpy(self.synthetic.probabilities[rows].astype(np.float32)).to(
            self.device
        )
        z = F.normalize(vectors, dim=-1)
        logits = [self.config.scale * z @ self._tensors[name].T for name in ("classes", "chinese_classes")]
        exact, chinese = (soft_cross_entropy(each, probabilities) for each in logits)
        kinds = _each_positive(
            self.config.scale * z @ self._tensors["kinds"].T,
            self._tensors["kind_of"][probabilities.argmax(dim=-1)],
        )
        return exact + self.config.chinese_weight * chinese + self.config.kind_weight * kinds

    def evaluate(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, check in self.checks.items():
            scores = head_vectors(self.module, self.features, check.rows) @ torch.from_numpy(check.gallery).T
            figures |= {f"{name} {k}": v for k, v in recalls(scores, check.label).items()}
        return figures


@torch.inference_mode()
def head_vectors(head: ImageHead, features: FeatureSet, rows: NDArray[np.int64]) -> Tensor:
    """Unit vectors ``[n, d]`` of stored views."""
    device = head.position.device
    parts = []
    for start in range(0, len(rows), 256):
        chosen = rows[start : start + 256]
        tokens = torch.from_numpy(features.tokens[chosen].astype(np.float32)).to(device)
        pooled = torch.from_numpy(features.pooled[chosen].astype(np.float32)).to(device)
        parts.append(F.normalize(head(tokens, pooled)[0], dim=-1).cpu())
    return torch.cat(parts)


def _each_positive(logits_bn: Tensor, positive_bn: Tensor) -> Tensor:
    """Cross-entropy of each positive against all that are none, mean over the positives, then the batch."""
    against = torch.logsumexp(logits_bn.masked_fill(positive_bn, -1e4), dim=-1, keepdim=True)
    each = torch.logaddexp(logits_bn, against) - logits_bn
    return ((each * positive_bn).sum(dim=-1) / positive_bn.sum(dim=-1).clamp(min=1)).mean()


def recalls(scores: Tensor, label: NDArray[np.int64], ks: Sequence[int] = (1, 5)) -> dict[str, float]:
    """Share of rows whose own column is among the k best; ties count against."""
    own = scores.gather(1, torch.from_numpy(label)[:, None])
    rank = (scores >= own).sum(dim=1)
    return {f"R@{k}": round(float((rank <= k).float().mean()), 4) for k in ks}
