"""The image stage: the head and the upper part of the trunk learn drawings, colours, scenes and, from the
published classifier, photographs.

All targets are text vectors. Pictures of one thing: cross-entropy against the names of all things, in
English and as the text tower reads the Chinese ones; and its keywords ("fruit" for an apple) against others.
Dyed things: against the same thing in all eleven colours. Scenes: against the captions of the batch.
Photographs: the published classifier's probabilities over its 1,000 names on synthetic maps (see
``training.distil``), in both languages, and the kinds that its classes belong to ("dog" for a Chihuahua).

The trunk learns at a smaller rate than the head, and is held to what it said as published: its class
probabilities and pooled features on the same maps are targets (Li & Hoiem 2016, learning without forgetting,
eq. 2). Without that it would forget photographs, of which it sees none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.models.mini.image import ImageTower
from chiasm.nn.losses import each_positive, info_nce, soft_cross_entropy
from chiasm.training.distil import Synthetic
from chiasm.training.features import FeatureSet
from chiasm.training.loop import cosine_rate
from chiasm.training.precision import mixed
from chiasm.training.stages.names import NameLossConfig, NameLosses, NameTargets


@dataclass(frozen=True, kw_only=True)
class ImageStageConfig:
    """How many of each kind a batch has, and the weights of their losses.

    ``trunk_rate``: the trunk's share of the learning rate. ``kept_weight``, ``feature_weight``: of the
    published trunk's class probabilities and pooled features.
    """

    steps: int = 900
    single: int = 128
    titled: int = 64
    coloured: int = 32
    scenes: int = 32
    synthetic: int = 64
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.05
    names: NameLossConfig = field(default_factory=NameLossConfig)
    pooled_weight: float = 0.4
    synthetic_weight: float = 0.8
    kind_weight: float = 0.3
    coloured_weight: float = 0.3
    scene_weight: float = 0.3
    trunk_rate: float = 0.2
    kept_weight: float = 1.0
    feature_weight: float = 1.0
    drop_fine: float = 0.3
    drop_pooled: float = 0.1
    seed: int = 5


@dataclass(frozen=True, kw_only=True)
class ImageTargets:
    """Row numbers into the features, and what they are to be near to.

    Attributes:
        names: of pictures of one thing.
        single, single_name: rows of concept pictures and their index in ``names``. titled: likewise those
            that have a title instead.
        coloured, colour_texts: rows of dyed pictures; vectors [m, 11, d] of the thing in every colour, the
            right one first.
        scenes, captions: rows of scenes and their captions' vectors.
        classes, chinese_classes: [1000, d]. kinds: vectors [k, d] of hypernyms; kind_of: bool [1000, k].
    """

    names: NameTargets
    single: NDArray[np.int64]
    single_name: NDArray[np.int64]
    titled: NDArray[np.int64]
    titled_name: NDArray[np.int64]
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
    """Fine maps [b, …] of all pictures of a step, one kind behind the other, what the published trunk makes
    of them, and the rows of their targets."""

    fine: Tensor
    published: Tensor
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
        module: ImageTower,
        *,
        features: FeatureSet,
        targets: ImageTargets,
        synthetic: Synthetic,
        checks: Mapping[str, Check],
        config: ImageStageConfig,
    ) -> None:
        self.module = module.freeze_published()
        self.features = features
        self.targets = targets
        self.synthetic = synthetic
        self.checks = checks
        self.config = config
        self.steps = config.steps
        self._names = NameLosses(targets.names, config.names, self.device)
        self._tensors = {
            name: torch.from_numpy(value).to(self.device)
            for name, value in (
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
        """Where the tower is."""
        return self.module.head.position.device

    def optimiser(self) -> torch.optim.Optimizer:
        groups = []
        for part, factor in ((self.module.trunk, self.config.trunk_rate), (self.module.head, 1.0)):
            for vectors, decay in ((False, self.config.weight_decay), (True, 0.0)):
                chosen = [p for p in part.parameters() if p.requires_grad and (p.ndim < 2) == vectors]
                groups.append({"params": chosen, "weight_decay": decay, "factor": factor})
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.98))

    def learning_rate(self, step: int) -> float:
        return cosine_rate(step, self.steps, self.config.learning_rate, 50)

    def batch(self, step: int) -> ImageBatch:
        c, t = self.config, self.targets
        rng = np.random.default_rng((c.seed, step))
        single = rng.integers(len(t.single), size=c.single)
        titled = rng.integers(len(t.titled), size=c.titled)
        coloured = rng.integers(len(t.coloured), size=c.coloured)
        scenes = rng.integers(len(t.scenes), size=c.scenes)
        synthetic = rng.integers(len(self.synthetic.maps), size=c.synthetic)
        rows = np.concatenate([t.single[single], t.titled[titled], t.coloured[coloured], t.scenes[scenes]])
        fine = np.concatenate([self.features.fine[rows], self.synthetic.maps[synthetic]])
        published = np.concatenate([self.features.pooled[rows], self.synthetic.pooled[synthetic]])
        return ImageBatch(
            fine=torch.from_numpy(fine),
            published=torch.from_numpy(published),
            single=torch.from_numpy(np.concatenate([t.single_name[single], t.titled_name[titled]])),
            coloured=coloured,
            scenes=scenes,
            synthetic=synthetic,
        )

    def loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        c = self.config
        published = batch.published.to(self.device).float()
        with mixed(self.device):
            tokens, pooled = self.module.read_fine(batch.fine.to(self.device).float())
            fine_seen = torch.rand(len(tokens), 1, 1, device=self.device) >= c.drop_fine
            coarse = self.module.head.config.coarse
            shown = torch.cat([tokens[..., :coarse], tokens[..., coarse:] * fine_seen], dim=-1)
            some = F.dropout(pooled, c.drop_pooled)
            vectors, _ = self.module.head(shown, some)
            first = self.module.head.pooled_vector(some)
        vectors, first, pooled = vectors.float(), first.float(), pooled.float()
        sizes = [len(batch.single), len(batch.coloured), len(batch.scenes), len(batch.synthetic)]
        single, coloured, scenes, synthetic = torch.split(vectors, sizes)
        first_single, _, _, first_synthetic = torch.split(first, sizes)
        label = batch.single.to(self.device)
        return {
            **self._names(single, label),
            "pooled": c.pooled_weight * self._names.name(first_single, label),
            "colours": c.coloured_weight * self._colours(coloured, batch.coloured),
            "scenes": c.scene_weight
            * info_nce(scenes, self._tensors["captions"][batch.scenes], c.names.scale),
            "photographs": c.synthetic_weight * self._photographs(synthetic, batch.synthetic),
            "pooled photographs": c.synthetic_weight
            * c.pooled_weight
            * self._photographs(first_synthetic, batch.synthetic),
            **self._kept(pooled, published),
        }

    def _colours(self, vectors: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The right colour comes first among the eleven; other things of the batch are negatives too."""
        texts = self._tensors["colours"][rows]
        z = F.normalize(vectors, dim=-1)
        own = torch.einsum("bd,bkd->bk", z, texts)
        others = z @ texts[:, 0].T
        others = others.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -1.0)
        logits = self.config.names.scale * torch.cat([own, others], dim=1)
        return F.cross_entropy(logits, torch.zeros(len(z), dtype=torch.long, device=z.device))

    def _photographs(self, vectors: Tensor, rows: NDArray[np.int64]) -> Tensor:
        probabilities = torch.from_numpy(self.synthetic.probabilities[rows].astype(np.float32)).to(
            self.device
        )
        z = F.normalize(vectors, dim=-1)
        logits = [
            self.config.names.scale * z @ self._tensors[name].T for name in ("classes", "chinese_classes")
        ]
        exact, chinese = (soft_cross_entropy(each, probabilities) for each in logits)
        kinds = each_positive(
            self.config.names.scale * z @ self._tensors["kinds"].T,
            self._tensors["kind_of"][probabilities.argmax(dim=-1)],
        )
        return exact + self.config.names.chinese_weight * chinese + self.config.kind_weight * kinds

    def _kept(self, pooled: Tensor, published: Tensor) -> dict[str, Tensor]:
        """How far the trunk went from what was published: divergence of the classes, relative distance."""
        classifier = self.module.trunk.classifier
        assert classifier is not None
        before, now = (classifier(x).log_softmax(dim=-1) for x in (published, pooled))
        apart = (pooled - published).square().sum(dim=-1) / published.square().sum(dim=-1).clamp(min=1e-6)
        divergence = F.kl_div(now, before, reduction="batchmean", log_target=True)
        return {
            "kept": self.config.kept_weight * divergence,
            "features": self.config.feature_weight * apart.mean(),
        }

    def evaluate(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, check in self.checks.items():
            vectors, _ = stored_views(self.module, self.features, check.rows)
            scores = F.normalize(vectors, dim=-1).cpu() @ torch.from_numpy(check.gallery).T
            figures |= {f"{name} {k}": v for k, v in recalls(scores, check.label).items()}
        return figures


@torch.inference_mode()
def stored_views(
    tower: ImageTower, features: FeatureSet, rows: Sequence[int] | NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """What the tower says of stored views: vectors ``[n, d]`` and tokens ``[n, p, d]``."""
    device = tower.head.position.device
    parts = []
    for start in range(0, len(rows), 128):
        fine = torch.from_numpy(features.fine[rows[start : start + 128]])
        parts.append(tower.head(*tower.read_fine(fine.to(device).float())))
    vectors, tokens = zip(*parts, strict=True)
    return torch.cat(vectors), torch.cat(tokens)


def recalls(scores: Tensor, label: NDArray[np.int64], ks: Sequence[int] = (1, 5)) -> dict[str, float]:
    """Share of rows whose own column is among the k best; ties count against."""
    own = scores.gather(1, torch.from_numpy(label)[:, None])
    rank = (scores >= own).sum(dim=1)
    return {f"R@{k}": round(float((rank <= k).float().mean()), 4) for k in ks}
