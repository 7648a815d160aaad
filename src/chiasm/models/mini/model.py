"""chiasm-mini: text, image, audio and video in the space of one sentence encoder.

text   ── BERT (MiniLM, Chinese words added) ── mean over tokens ─────────────┐
image  ── EfficientNet-Lite0 (frozen) ── head: MLP + Transformer over maps ───┤
audio  ── convolutions over log-mel ── attention pooling ── (+ words heard) ──┼─ unit vector [384]
video  ── image tower on some frames ── + motion from tubelets ───────────────┤
mixed  ── fusion Transformer over the tokens of all parts ────────────────────┘
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.models.bert.model import Bert
from chiasm.models.mini.audio import AudioEncoder, AudioOutput
from chiasm.models.mini.config import MiniConfig
from chiasm.models.mini.fusion import Encoded, Fusion
from chiasm.models.mini.image import ImageTower
from chiasm.models.mini.trace import trace
from chiasm.models.mini.video import MotionEncoder
from chiasm.models.traced import Traced
from chiasm.nn.pooling import MeanPool
from chiasm.preprocess.prepared import PreparedItem, PreparedPart

TOKENS_PER_BATCH = 4096
PICTURES_PER_BATCH = {"cpu": 8, "cuda": 64}
"""On a CPU more pictures at once are no faster, and the trunk's first maps take 15 MB for each."""
FRAMES_PER_BATCH = 16_000
SOUND_WEIGHT = 0.3
"""Weight of a clip's sound track beside its pictures, both unit vectors."""


class Listener(Protocol):
    """Decides between what the audio tower says of sounds and the words that were heard in them."""

    def decide(self, output: AudioOutput, parts: Sequence[PreparedPart], model: "ChiasmMini") -> Tensor:
        """The vectors ``[b, d]`` of ``b`` sounds."""


class ChiasmMini(nn.Module):
    """The towers and the fusion; ``embed`` is the ability that tasks ask for."""

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.config = config
        self.text = Bert(config.text)
        self.text_mean = MeanPool()
        self.image = ImageTower(config.trunk, config.image)
        self.audio = AudioEncoder(config.audio)
        self.motion = MotionEncoder(config.motion)
        self.fusion = Fusion(config.fusion)
        self.listener: Listener | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.text.norm.weight.device

    def encode_text(self, ids_bt: Tensor, mask_bt: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``[b, d]`` and tokens ``[b, t, d]`` of token ids."""
        states = self.text(ids_bt, mask_bt)
        return self.text_mean(states, mask_bt), states

    def encode_video(self, frames_bfhwc: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``[b, d]`` and tokens ``[b, t, d]`` of uint8 frames ``[b, f, s, s, 3]``, f ≥ 1."""
        b = len(frames_bfhwc)
        shown = frames_bfhwc[:, :: self.config.motion.content_stride]
        vectors = F.normalize(self.image(shown.flatten(0, 1))[0], dim=-1).view(b, shown.shape[1], -1)
        content = F.normalize(vectors.mean(dim=1), dim=-1)
        if frames_bfhwc.shape[1] < self.config.motion.span:
            return content, vectors
        motion, steps = self.motion(frames_bfhwc)
        return content + motion, torch.cat([vectors, steps], dim=1)

    def embed(self, items: Sequence[PreparedItem]) -> Tensor:
        """Unit vectors ``[n, d]``: a part alone is its tower's vector, several are fused."""
        if not items:
            return torch.zeros((0, self.config.text.width), device=self.device)
        encoded = self._encode([part for item in items for part in item.parts])
        alone: list[Tensor] = []
        mixed: list[list[Encoded]] = []
        for item in items:
            parts = [next(encoded) for _ in item.parts]
            if len(parts) == 1:
                alone.append(F.normalize(parts[0].vector, dim=-1))
            else:
                mixed.append(parts)
        fused = iter(self.fusion(mixed)) if mixed else iter(())
        single = iter(alone)
        return torch.stack([next(single) if len(item.parts) == 1 else next(fused) for item in items])

    def trace(self, part: PreparedPart, seconds: float = 1.0) -> Traced:
        """One part with all that is looked at on its way; ``seconds``: how long a sound or clip is."""
        return trace(self, part, seconds)

    def _encode(self, parts: Sequence[PreparedPart]) -> Iterator[Encoded]:
        """Each part through its tower, in batches of like shape; the answers come in the parts' order."""
        found: dict[int, Encoded] = {}
        pictures = PICTURES_PER_BATCH.get(self.device.type, 32)
        groups: dict[tuple[Modality, int], list[int]] = defaultdict(list)
        for index, part in enumerate(parts):
            groups[part.modality, _length(part)].append(index)
        for modality, members in _merge(groups):
            for batch in _cut(members, modality, parts, pictures):
                chosen = [parts[i] for i in batch]
                for i, encoded in zip(batch, self._encode_batch(modality, chosen), strict=True):
                    found[i] = encoded
        return (found[i] for i in range(len(parts)))

    def _encode_batch(self, modality: Modality, parts: Sequence[PreparedPart]) -> list[Encoded]:
        if modality is Modality.TEXT:
            return self._encode_texts([part.arrays["token_ids"] for part in parts])
        if modality is Modality.AUDIO:
            # Fusion sees what was decided from voice and words together; the frames do not know it.
            vectors = self._hear(parts)[1]
            return [Encoded(modality, v, v.new_zeros((0, len(v)))) for v in vectors]
        pixels = torch.from_numpy(np.stack([part.arrays["pixels"] for part in parts])).to(self.device)
        if modality is Modality.IMAGE:
            vectors, tokens = self.image(pixels)
        else:
            vectors, tokens = self.encode_video(pixels)
            vectors = self._with_sound(vectors, parts)
        return [Encoded(modality, v, t) for v, t in zip(vectors, tokens, strict=True)]

    def _encode_texts(self, ids: Sequence[np.ndarray]) -> list[Encoded]:
        length = max(len(row) for row in ids)
        padded = np.zeros((len(ids), length), dtype=np.int64)
        mask = np.zeros((len(ids), length), dtype=bool)
        for row, own in enumerate(ids):
            padded[row, : len(own)] = own
            mask[row, : len(own)] = True
        vectors, tokens = self.encode_text(
            torch.from_numpy(padded).to(self.device), torch.from_numpy(mask).to(self.device)
        )
        return [
            Encoded(Modality.TEXT, v, t[: len(own)]) for v, t, own in zip(vectors, tokens, ids, strict=True)
        ]

    def text_vectors(self, ids: Sequence[np.ndarray]) -> Tensor:
        """Unit vectors ``[n, d]`` of texts given as token ids."""
        return F.normalize(torch.stack([e.vector for e in self._encode_texts(ids)]), dim=-1)

    def _hear(self, parts: Sequence[PreparedPart]) -> tuple[AudioOutput, Tensor]:
        mels = [part.arrays["log_mel"] for part in parts]
        lengths = torch.tensor([len(m) for m in mels], device=self.device)
        padded = np.zeros((len(mels), int(lengths.max()), mels[0].shape[1]), dtype=np.float32)
        for row, mel in enumerate(mels):
            padded[row, : len(mel)] = mel
        return self.hear(torch.from_numpy(padded).to(self.device), lengths, parts)

    def hear(
        self, log_mel_bfm: Tensor, lengths_b: Tensor, parts: Sequence[PreparedPart]
    ) -> tuple[AudioOutput, Tensor]:
        """What the tower says of the parts' frames ``[b, f, mels]``, and the vectors ``[b, d]`` that the
        listener makes of it."""
        output: AudioOutput = self.audio(log_mel_bfm, lengths_b)
        if self.listener is None:
            return output, output.vector
        return output, self.listener.decide(output, parts, self)

    def _with_sound(self, vectors: Tensor, parts: Sequence[PreparedPart]) -> Tensor:
        """Add the sound track's vector to clips that have one."""
        heard = [i for i, part in enumerate(parts) if "log_mel" in part.arrays]
        if not heard:
            return vectors
        sounds = self._hear([parts[i] for i in heard])[1]
        both = self.beside(vectors[heard], sounds)
        return vectors.index_copy(0, torch.tensor(heard, device=vectors.device), both)

    def beside(self, shown_bd: Tensor, heard_bd: Tensor) -> Tensor:
        """The vectors of clips from those of their pictures and of their sound."""
        return F.normalize(shown_bd, dim=-1) + SOUND_WEIGHT * F.normalize(heard_bd, dim=-1)


def _length(part: PreparedPart) -> int:
    """What decides the shape of a part: tokens (by eights), frames of sound (by sixty-fours) or of video."""
    if part.modality is Modality.TEXT:
        return -(-len(part.arrays["token_ids"]) // 8)
    if part.modality is Modality.AUDIO:
        return -(-len(part.arrays["log_mel"]) // 64)
    return len(part.arrays["pixels"]) if part.modality is Modality.VIDEO else 0


def _merge(groups: dict[tuple[Modality, int], list[int]]) -> Iterator[tuple[Modality, list[int]]]:
    """Texts and sounds of neighbouring lengths go together, short ones first; videos of one length only."""
    joined: dict[Modality, list[int]] = defaultdict(list)
    for (modality, _), members in sorted(groups.items(), key=lambda pair: (pair[0][0].value, pair[0][1])):
        if modality is Modality.VIDEO:
            yield modality, members
        else:
            joined[modality].extend(members)
    yield from joined.items()


def _cut(
    members: Sequence[int], modality: Modality, parts: Sequence[PreparedPart], pictures: int
) -> Iterator[list[int]]:
    """Batches whose padded size stays within what one pass should hold."""
    batch: list[int] = []
    longest = 0
    for index in members:
        arrays = parts[index].arrays
        if modality is Modality.TEXT:
            size, limit = len(arrays["token_ids"]), TOKENS_PER_BATCH
        elif modality is Modality.AUDIO:
            size, limit = len(arrays["log_mel"]), FRAMES_PER_BATCH
        else:
            size, limit = (len(arrays["pixels"]) if modality is Modality.VIDEO else 1), pictures
        if batch and max(longest, size) * (len(batch) + 1) > limit:
            yield batch
            batch, longest = [], 0
        batch.append(index)
        longest = max(longest, size)
    if batch:
        yield batch
