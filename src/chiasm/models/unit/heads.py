"""What UniT answers with (Hu & Singh 2021, sec. 3.4): objects and their attributes, or classes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.nn.losses.detection import (
    Objects,
    SetWeights,
    attribute_loss,
    match,
    matched,
    set_losses,
    to_corners,
)

NAME_WIDTH, ATTRIBUTE_WIDTH = 256, 512


class Found(NamedTuple):
    """Objects of one picture: class, its probability, and corners (left, top, right, bottom) ``[n, 4]`` as
    shares of the picture, not always within it."""

    labels_n: Tensor
    scores_n: Tensor
    corners_n4: Tensor


class Detections(NamedTuple):
    """Of every query: logits ``[b, q, classes + 1]``, "no object" last, and boxes ``[b, q, 4]``: centre and
    size, as shares of the picture without its padding. ``attributes``: logits ``[b, q, attributes]`` given
    the likeliest class, of a task that has them."""

    logits_bqc: Tensor
    boxes_bq4: Tensor
    attributes: Tensor | None = None

    def found(self, least: float = 0.5) -> list[Found]:
        """Of each picture, the queries whose likeliest object is at least so probable."""
        scores_bq, labels_bq = self.logits_bqc.softmax(dim=-1)[..., :-1].max(dim=-1)
        corners_bq4 = to_corners(self.boxes_bq4)
        rows = zip(labels_bq, scores_bq, corners_bq4, scores_bq >= least, strict=True)
        return [Found(labels[kept], scores[kept], corners[kept]) for labels, scores, corners, kept in rows]


class BoxHead(nn.Module):
    """Three linear maps with ReLU between them, and a sigmoid (Carion et al. 2020, sec. 3.2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.third = nn.Linear(width, 4)

    def forward(self, x_bqd: Tensor) -> Tensor:
        """``[b, q, width]`` → centres and sizes ``[b, q, 4]`` in [0, 1]."""
        x_bqd = F.relu(self.second(F.relu(self.first(x_bqd))))
        boxes: Tensor = self.third(x_bqd).sigmoid()
        return boxes


class AttributeHead(nn.Module):
    """State and class of an object → logits of its attributes, none below 0 (as in the paper's code)."""

    def __init__(self, width: int, classes: int, attributes: int) -> None:
        super().__init__()
        self.name = nn.Embedding(classes + 1, NAME_WIDTH)
        self.expand = nn.Linear(width + NAME_WIDTH, ATTRIBUTE_WIDTH)
        self.contract = nn.Linear(ATTRIBUTE_WIDTH, attributes)
        for layer in (self.name, self.expand, self.contract):
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, states: Tensor, labels: Tensor) -> Tensor:
        """``[..., width]`` and classes ``[...]`` → ``[..., attributes]``."""
        return F.relu(self.contract(self.expand(torch.cat([states, self.name(labels)], dim=-1))))


class DetectionHead(nn.Module):
    """A class, a box and perhaps attributes for every query."""

    def __init__(self, width: int, classes: int, attributes: int = 0) -> None:
        super().__init__()
        self.classes = nn.Linear(width, classes + 1)
        self.boxes = BoxHead(width)
        self.attributes = AttributeHead(width, classes, attributes) if attributes else None

    def forward(self, x_bqd: Tensor) -> Detections:
        """States of the queries ``[b, q, width]`` → what they found."""
        logits_bqc = self.classes(x_bqd)
        attributes = None
        if self.attributes is not None:
            attributes = self.attributes(x_bqd, logits_bqc[..., :-1].argmax(dim=-1))
        return Detections(logits_bqc, self.boxes(x_bqd), attributes)

    def loss(self, x_bqd: Tensor, targets: Sequence[Objects], weights: SetWeights) -> Tensor:
        """Weighted losses of the best matching of queries and objects (Carion et al. 2020, sec. 3.1).

        Attributes are asked for given the true class, where all targets have some.
        """
        logits_bqc, boxes_bq4 = self.classes(x_bqd), self.boxes(x_bqd)
        matches = match(logits_bqc, boxes_bq4, targets, weights)
        losses = set_losses(logits_bqc, boxes_bq4, targets, matches, nothing=weights.nothing)
        total = losses.total(weights)
        known = [own.attributes_nm for own in targets if own.attributes_nm is not None]
        if self.attributes is None or len(known) != len(targets):
            return total
        pairs = list(zip(targets, known, matches, strict=True))
        device = x_bqd.device
        labels_n = torch.cat([own.labels_n.to(device)[pair.objects_n] for own, _, pair in pairs])
        attributes_nm = torch.cat([own.to(device)[pair.objects_n] for _, own, pair in pairs])
        logits_na = self.attributes(matched(x_bqd, matches), labels_n)
        return total + weights.attributes * attribute_loss(logits_na, attributes_nm)


class AnswerHead(nn.Module):
    """State of the first query → logits of the classes: a linear map, GELU, a norm, a linear map."""

    def __init__(self, width: int, classes: int, epsilon: float, *, several: bool = False) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.classes = nn.Linear(width, classes)
        self.several = several

    def forward(self, first_bd: Tensor) -> Tensor:
        """``[b, width]`` → ``[b, classes]``."""
        logits: Tensor = self.classes(self.norm(F.gelu(self.dense(first_bd))))
        return logits

    def loss(self, first_bd: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy with the right class ``[b]``; or, where several are right, binary cross-entropy
        with the degree to which each is ``[b, classes]``, summed over classes (as in the paper's code)."""
        logits_bc = self(first_bd)
        expected = logits_bc.shape if self.several else logits_bc.shape[:1]
        if targets.shape != expected:
            raise ValueError(f"expected targets {list(expected)}, got {list(targets.shape)}")
        if self.several:
            each = F.binary_cross_entropy_with_logits(logits_bc, targets.to(logits_bc.dtype))
            return each * targets.shape[1]
        return F.cross_entropy(logits_bc, targets)
