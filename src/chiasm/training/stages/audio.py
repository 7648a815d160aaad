"""The audio stage: spoken names and other sounds → the text vectors of what they name, and phonemes on the
way.

Losses: cross-entropy of the clip's vector against the vectors of all names at once (scale 25: from scratch,
plain
InfoNCE stays at chance for thousands of steps), CTC over phonemes, and speech against other sounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chiasm.data.builders.mels import MelShard
from chiasm.data.builders.spoken import Phrase
from chiasm.models.mini.audio import AudioEncoder, AudioOutput
from chiasm.models.mini.phonemes import BLANK
from chiasm.training.loop import cosine_rate
from chiasm.training.stages.audio_batches import AudioBatch, AudioBatches, plain


@dataclass(frozen=True, kw_only=True)
class AudioStageConfig:
    """Numbers of the stage.

    Attributes:
        steps: batches in all. scale: of the cosines in the cross-entropy.
        learning_rate, warm_up, weight_decay: of AdamW with a cosine to a fiftieth.
        names, ctc, speech: weights of the losses. Names at full weight keep phonemes from being learnt: their
            gradient is three times as long.
    """

    steps: int = 6000
    scale: float = 25.0
    learning_rate: float = 8e-4
    warm_up: int = 100
    weight_decay: float = 0.05
    names: float = 0.2
    ctc: float = 1.0
    speech: float = 0.3


@dataclass(frozen=True, kw_only=True)
class AudioStage:
    """What the loop trains; see the module.

    Attributes:
        module: the encoder. batches: of clips; labels of speech are rows of ``phrases``, those of sounds
        come after
            them: label ``len(phrases) + i`` is ``sounds[i]``.
        vectors: unit text vector float32 [dim] of every English name in ``phrases`` and ``sounds``.
        checks: named validation shards of speech.
    """

    module: AudioEncoder
    batches: AudioBatches
    phrases: Sequence[Phrase]
    sounds: Sequence[str]
    vectors: Mapping[str, NDArray[np.float32]]
    checks: Mapping[str, MelShard] = field(default_factory=dict)
    config: AudioStageConfig = field(default_factory=AudioStageConfig)
    name: str = "audio"
    clip: float = 5.0

    def __post_init__(self) -> None:
        names = list(dict.fromkeys([*(p.target for p in self.phrases if not p.held_out), *self.sounds]))
        row = {name: index for index, name in enumerate(names)}
        classes = [row.get(p.target, -1) for p in self.phrases] + [row[name] for name in self.sounds]
        device = next(self.module.parameters()).device
        object.__setattr__(
            self, "_names", torch.from_numpy(np.stack([self.vectors[n] for n in names])).to(device)
        )
        object.__setattr__(self, "_classes", torch.tensor(classes))

    @property
    def steps(self) -> int:
        """Batches in all."""
        return self.config.steps

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW with weight decay on matrices alone."""
        parameters = list(self.module.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.98))

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine."""
        return cosine_rate(step, self.steps, self.config.learning_rate, self.config.warm_up)

    def batch(self, step: int) -> AudioBatch:
        """The clips of a step."""
        return self.batches.batch(step)

    def loss(self, batch: AudioBatch) -> dict[str, Tensor]:
        """The three losses of a batch, weighted."""
        device = next(self.module.parameters()).device
        output = self.module(
            torch.from_numpy(batch.log_mel).to(device), torch.from_numpy(batch.lengths).to(device)
        )
        speech = torch.from_numpy(batch.speech).to(device, torch.float32)
        return {
            "name": self.config.names * self._name_loss(output, batch),
            "ctc": self.config.ctc * self._ctc_loss(output, batch),
            "speech": self.config.speech * F.binary_cross_entropy_with_logits(output.speech, speech),
        }

    def evaluate(self) -> dict[str, float]:
        """Recall of the vectors alone among the names that are checked, and phoneme error rates, in
        percent."""
        figures: dict[str, float] = {}
        for name, shard in self.checks.items():
            vectors, units, _ = encode(self.module, shard)
            heard = [self.phrases[int(label)] for label in shard.labels]
            gallery = list(dict.fromkeys(phrase.target for phrase in heard))
            row = {target: index for index, target in enumerate(gallery)}
            truth = np.array([row[phrase.target] for phrase in heard])
            first, fifth = recall(vectors, truth, np.stack([self.vectors[target] for target in gallery]))
            errors = sum(edits(greedy(logs), phrase.units) for logs, phrase in zip(units, heard, strict=True))
            total = sum(len(phrase.units) for phrase in heard)
            figures |= {
                f"{name} R@1": first,
                f"{name} R@5": fifth,
                f"{name} phoneme errors": 100 * errors / total,
            }
        return figures

    def _name_loss(self, output: AudioOutput, batch: AudioBatch) -> Tensor:
        names: Tensor = self._names  # type: ignore[attr-defined]
        classes: Tensor = self._classes  # type: ignore[attr-defined]
        cosines = F.normalize(output.vector, dim=-1) @ names.T
        return F.cross_entropy(
            self.config.scale * cosines, classes[torch.from_numpy(batch.labels)].to(cosines.device)
        )

    def _ctc_loss(self, output: AudioOutput, batch: AudioBatch) -> Tensor:
        spoken = torch.from_numpy(np.flatnonzero(batch.speech))
        units = [self.phrases[int(batch.labels[i])].units for i in spoken]
        return F.ctc_loss(
            output.units[spoken].log_softmax(-1).transpose(0, 1).cpu(),
            torch.tensor([unit for phrase in units for unit in phrase]),
            output.steps[spoken].cpu(),
            torch.tensor([len(phrase) for phrase in units]),
            blank=BLANK,
            zero_infinity=True,
        )


@torch.inference_mode()
def encode(
    encoder: AudioEncoder, shard: MelShard, size: int = 64
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]], NDArray[np.float32]]:
    """Encode a whole shard as it is.

    Returns:
        Unit vectors [clips, dim]; CTC log-probabilities [steps, units] of each clip; speech logits [clips].
    """
    device = next(encoder.parameters()).device
    order = np.argsort(shard.lengths, kind="stable")
    vectors = np.zeros((len(order), encoder.config.dim), np.float32)
    speech = np.zeros(len(order), np.float32)
    units: list[NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * len(order)
    for start in range(0, len(order), size):
        picked = order[start : start + size]
        log_mel, lengths = plain(shard, picked)
        output = encoder(torch.from_numpy(log_mel).to(device), torch.from_numpy(lengths).to(device))
        vectors[picked] = F.normalize(output.vector, dim=-1).cpu().numpy()
        speech[picked] = output.speech.cpu().numpy()
        logs = output.units.log_softmax(-1).cpu().numpy()
        for row, index in enumerate(picked):
            units[index] = logs[row, : int(output.steps[row])]
    return vectors, units, speech


def recall(
    vectors: NDArray[np.float32], truth: NDArray[np.int64], gallery: NDArray[np.float32]
) -> tuple[float, float]:
    """Recall at 1 and at 5, in percent, of ``gallery[truth[i]]`` for ``vectors[i]``; ties count against."""
    scores = vectors @ gallery.T
    own = scores[np.arange(len(truth)), truth]
    rank = (scores >= own[:, None]).sum(1)
    return float((rank <= 1).mean() * 100), float((rank <= 5).mean() * 100)


def greedy(logs: NDArray[np.float32]) -> tuple[int, ...]:
    """The best CTC path of [steps, units], blanks and repeats taken out."""
    best = logs.argmax(1)
    kept = best[np.concatenate([[True], best[1:] != best[:-1]])]
    return tuple(int(unit) for unit in kept if unit != BLANK)


def edits(first: Sequence[int], second: Sequence[int]) -> int:
    """Levenshtein distance."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first):
        above, row = row, [i + 1]
        for j, b in enumerate(second):
            row.append(min(above[j] + (a != b), above[j + 1] + 1, row[j] + 1))
    return row[-1]
