"""From a cosine to a probability of relevance, comparable across modalities.

Modalities lie in different cones of one space: 0.3 between a sentence and a picture may be a perfect match
where 0.3 between two names is nothing. For each pair "query>item" a logistic curve, fitted on held-out data,
says how likely an item with this cosine is to be what was looked for:

    logit p = a·cosine + b·z + d,   z = (cosine − mean_q) / std_q

``mean_q`` and ``std_q`` are of the query's own cosines to a background bank of items of that modality, so
that queries that are near to everything do not profit. A text of more than a few words is a kind of item of
its own, a passage: it says many things, and none of its cosines is as high as a name's.

The best of many strangers is nearer than the best of few. So the probability from which on a hit is worth
showing rises with the number of items searched: its logit is a straight line over ln n, as it is for the
greatest of n draws from a distribution whose tail falls off exponentially (Gumbel 1958, section 5.2).
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from chiasm.errors import CheckpointError

Floats = NDArray[np.floating]
MIN_STD = 1e-3
FALLBACK = "default"
PASSAGE = "passage"
KINDS: Mapping[str, tuple[str, ...]] = {"text": ("text", PASSAGE)}
"""What an item of a modality may be; of the others each is of one kind."""
NAME_WORDS = 8
_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")


def kind_of(modality: str, text: str | None) -> str:
    """``passage`` for a text of more than NAME_WORDS words or Chinese characters, else the modality."""
    if modality in KINDS and len(_WORDS.findall(text or "", 0, 1000)) > NAME_WORDS:
        return PASSAGE
    return modality


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The curve of one "query>item" pair.

    Args:
        cosine, z, bias: of the curve.
        cutoff: the probability below which a hit among 1,000 items is not worth showing.
        growth: by how much the logit of the cut-off rises when e times as many items are searched.
    """

    cosine: float
    z: float = 0.0
    bias: float = 0.0
    cutoff: float = 0.0
    growth: float = 0.0


NEUTRAL = Pair(cosine=10.0, bias=-3.0)  # orders by the cosine; cuts nothing off


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """All pairs of a model.

    Args:
        pairs: by ``"text>image"``; ``"default"`` is used where a pair is missing.
        background: by kind of item, unit rows [m, d].
    """

    pairs: Mapping[str, Pair] = field(default_factory=dict)
    background: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], dimensions: int) -> Self:
        """From ``ModelDescription.calibration``: ``{"pairs": {"text>image": {"cosine": …}}, "background":
        {"image": float16 bytes (or their base64, or rows)}}``; an empty mapping is neutral.

        Raises:
            CheckpointError: a calibration that cannot be understood.
        """
        try:
            pairs = {name: Pair(**values) for name, values in mapping.get("pairs", {}).items()}
            banks = {name: _bank(rows, dimensions) for name, rows in mapping.get("background", {}).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"expected a calibration with pairs and background, got: {error}",
                f"校准数据应含 pairs 与 background：{error}",
            ) from error
        return cls(pairs=pairs, background=banks)

    def to_mapping(self) -> dict[str, Any]:
        """What :meth:`from_mapping` reads; plain JSON."""
        banks = {
            name: base64.b64encode(np.asarray(rows, "<f2").tobytes()).decode()
            for name, rows in self.background.items()
        }
        return {"pairs": {name: asdict(pair) for name, pair in self.pairs.items()}, "background": banks}

    def pair(self, query_modality: str, item_kind: str) -> Pair:
        """The curve of this pair, for a passage else that of a short text, else the model's default, else
        the neutral one."""
        wanted = [f"{query_modality}>{item_kind}", FALLBACK]
        if item_kind == PASSAGE:
            wanted.insert(1, f"{query_modality}>text")
        return next((self.pairs[name] for name in wanted if name in self.pairs), NEUTRAL)

    def z_scores(self, cosines: Floats, queries: Floats, item_kind: str) -> NDArray[np.float64]:
        """How unusual each cosine is for its query; 0 without a bank.

        Args:
            cosines: [q, k].
            queries: unit rows [q, d].
        """
        bank = self.background.get(item_kind)
        if bank is None or not len(bank):
            return np.zeros(np.shape(cosines))
        usual = (np.asarray(queries, bank.dtype) @ bank.T).astype(np.float64)
        spread = np.maximum(usual.std(axis=1, keepdims=True), MIN_STD)
        scores: NDArray[np.float64] = (cosines - usual.mean(axis=1, keepdims=True)) / spread
        return scores

    def probability(
        self, cosines: Floats, queries: Floats, query_modality: str, item_kind: str
    ) -> NDArray[np.float64]:
        """Probability of relevance in (0, 1), [q, k].

        Args:
            cosines: [q, k], row i belonging to query i.
            queries: unit rows [q, d].
        """
        pair = self.pair(query_modality, item_kind)
        z = self.z_scores(cosines, queries, item_kind) if pair.z else np.zeros(np.shape(cosines))
        return sigmoid(pair.cosine * np.asarray(cosines, np.float64) + pair.z * z + pair.bias)

    def evidence(
        self, cosines: Floats, queries: Floats, query_modality: str, item_kind: str
    ) -> NDArray[np.float64]:
        """By how much (in logits, at least 0) each item is more like its query than usual, [q, k].

        What is usual is the mean over the background bank; without a bank, a cosine of 0.
        """
        pair = self.pair(query_modality, item_kind)
        bank = self.background.get(item_kind)
        if bank is None or not len(bank):
            usual: Floats = np.zeros((len(cosines), 1))
        else:
            usual = (np.asarray(queries, bank.dtype) @ bank.T).astype(np.float64).mean(axis=1, keepdims=True)
        z = self.z_scores(cosines, queries, item_kind) if pair.z else np.zeros(np.shape(cosines))
        excess: NDArray[np.float64] = pair.cosine * (cosines - usual) + pair.z * z
        return np.maximum(excess, 0.0)

    def cutoff(self, query_modality: str, item_kind: str, items: int) -> float:
        """The probability from which on a hit among so many items is worth showing."""
        pair = self.pair(query_modality, item_kind)
        if not 0 < pair.cutoff < 1:
            return pair.cutoff
        return float(sigmoid(logit(pair.cutoff) + pair.growth * log_items(items)))


def fit(cosines: Floats, z: Floats, labels: Floats, *, ridge: float = 1e-3, steps: int = 50) -> Pair:
    """The maximum-likelihood curve of one pair (Newton's method, as in iteratively reweighted least squares).

    Args:
        cosines, z, labels: [n] each; labels are 0 or 1.
        ridge: weight of the squared coefficients (not of the bias), per example; keeps separable data finite.

    Returns:
        A pair that cuts nothing off.
    """
    features = np.stack([cosines, z, np.ones(len(labels))], axis=1).astype(float)
    targets = np.asarray(labels, np.float64)
    penalty = np.diag([ridge, ridge, 1e-9]) * len(targets)
    weights = np.zeros(3)
    for _ in range(steps):
        predicted = sigmoid(features @ weights)
        gradient = features.T @ (predicted - targets) + penalty @ weights
        curvature = (features * (predicted * (1 - predicted))[:, None]).T @ features + penalty
        step = np.linalg.solve(curvature, gradient)
        # A full Newton step overshoots where the curve is flat; this bound still converges quadratically.
        weights -= step * min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    cosine, on_z, bias = (float(w) for w in weights)
    return Pair(cosine=cosine, z=on_z, bias=bias)


def log_items(items: int | Floats) -> NDArray[np.float64]:
    """ln(max(n, 1) / 1000)."""
    logs: NDArray[np.float64] = np.log(np.maximum(np.asarray(items, np.float64), 1.0) / 1000.0)
    return logs


def sigmoid(logits: Floats) -> NDArray[np.float64]:
    """1 / (1 + exp(−x)), without overflow."""
    values: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64)))
    return values


def logit(probabilities: Floats | float) -> NDArray[np.float64]:
    """ln(p / (1 − p)) of probabilities in (0, 1)."""
    p = np.asarray(probabilities, np.float64)
    values: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return values


def _bank(rows: Any, dimensions: int) -> Floats:
    if isinstance(rows, str):
        rows = base64.b64decode(rows, validate=True)
    if isinstance(rows, bytes | bytearray | memoryview):
        return np.frombuffer(rows, "<f2").reshape(-1, dimensions).astype(np.float32)
    array = np.asarray(rows, np.float32)
    if array.ndim != 2 or array.shape[1] != dimensions:
        raise ValueError(f"a background of shape [m, {dimensions}], got {list(array.shape)}")
    return array
