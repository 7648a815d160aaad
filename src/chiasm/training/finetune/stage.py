"""Fine-tuning as a stage of the one training loop."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.errors import ChiasmError
from chiasm.preprocess import PreparedPart
from chiasm.training.finetune.config import FinetuneConfig
from chiasm.training.finetune.kept import KeptRows
from chiasm.training.finetune.material import Material, Rows
from chiasm.training.finetune.pictures import PictureReader
from chiasm.training.finetune.towers import Towers, parameter_groups
from chiasm.training.finetune.validation import recalls
from chiasm.training.loop import cosine_rate

_AT_ONCE = 32  # inputs that are computed together for validation


@dataclass(frozen=True, slots=True)
class FinetuneBatch:
    """Pictures as uint8 ``[b, side, side, 3]`` or what their locked tower said of them ``[b, width]``, texts
    likewise, and which of them have a picture or a text in common, ``[b, b]``."""

    images: Tensor
    texts: Tensor | list[PreparedPart]
    same: Tensor


class FinetuneStage:
    """See the module.

    Args:
        images, texts: what locked towers say of each file and each text; nothing of towers that learn, or
            whose inputs are other ones in each epoch.
        precision: what is computed in.
    """

    name = "finetune"

    def __init__(
        self,
        towers: Towers,
        material: Material,
        reader: PictureReader,
        config: FinetuneConfig,
        *,
        images: KeptRows | None,
        texts: KeptRows | None,
        precision: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.module = towers
        self.material = material
        self.config = config
        self.clip = config.clip
        self._reader = reader
        self._images, self._texts = images, texts
        self._precision = precision
        self._size = min(config.batch, len(material.learn))
        self.per_epoch = len(material.learn) // self._size
        self.steps = config.epochs * self.per_epoch
        self._order: tuple[int, Rows] = (-1, np.zeros(0, np.int64))

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW with the constants of CLIP (Radford et al. 2021, table 18)."""
        groups = parameter_groups(self.module, self.config.weight_decay)
        return torch.optim.AdamW(groups, lr=self.config.rate, betas=(0.9, 0.98), eps=1e-6)

    def learning_rate(self, step: int) -> float:
        """Up, then down as half a cosine."""
        return cosine_rate(step, self.steps, self.config.rate, round(self.config.warm_up * self.steps))

    def batch(self, step: int) -> FinetuneBatch:
        """The next rows of this epoch's order; what does not fill a batch has its turn in another epoch."""
        epoch, place = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = np.random.default_rng((self.config.seed, 0, epoch)).permutation(len(self.material.learn))
            self._order = (epoch, order)
        chosen = self.material.learn[self._order[1][place * self._size : (place + 1) * self._size]]
        files, texts = chosen[:, 0], chosen[:, 1]
        same = (files[:, None] == files) | (texts[:, None] == texts)
        seeds = [(self.config.seed, 2, step, n) for n in range(len(files))]
        return FinetuneBatch(self._pictures(files, seeds), self._words(texts), torch.from_numpy(same))

    def loss(self, batch: FinetuneBatch) -> dict[str, Tensor]:
        """The loss that the model was made with."""
        towers = self.module
        with self._precision():
            images = batch.images.to(towers.device)
            if images.dtype == torch.uint8:
                images = towers.images(images)
            words = batch.texts
            texts = words.to(towers.device) if isinstance(words, Tensor) else towers.texts(words)
            images, texts = towers.project(images, texts)
        return {"contrast": towers.loss(images, texts, batch.same.to(towers.device))}

    def evaluate(self) -> dict[str, float]:
        """R@1 and R@5 both ways on what was held out; nothing where nothing was."""
        check = self.material.check
        if not len(check):
            return {}
        files, file_row = np.unique(check[:, 0], return_inverse=True)
        texts, text_row = np.unique(check[:, 1], return_inverse=True)
        pairs = list(zip(file_row.tolist(), text_row.tolist(), strict=True))
        with torch.inference_mode(), self._precision():
            images_nw, texts_mv = self._all_pictures(files), self._all_words(texts)
            images_nd = self.module.clip.image_projection(images_nw)
            texts_md = self.module.clip.text_projection(texts_mv)
        return recalls(_unit(images_nd), _unit(texts_md), pairs)

    def _pictures(self, files: Rows, seeds: Sequence[tuple[int, ...]]) -> Tensor:
        if self._images is not None:
            return torch.from_numpy(self._images[files])
        return torch.from_numpy(self._reader.read_all([self.material.files[row] for row in files], seeds))

    def _words(self, texts: Rows) -> Tensor | list[PreparedPart]:
        if self._texts is not None:
            return torch.from_numpy(self._texts[texts])
        return [self.material.texts[row] for row in texts]

    def _all_pictures(self, files: Rows) -> Tensor:
        if self._images is not None:
            return torch.from_numpy(self._images[files]).to(self.module.device)
        paths = [self.material.files[row] for row in files]
        return torch.cat(
            [
                self.module.images(torch.from_numpy(np.stack([_sound(pixels) for pixels in lot]))).float()
                for lot in self._reader.attempts(paths, self._reader.read, _AT_ONCE)
            ]
        )

    def _all_words(self, texts: Rows) -> Tensor:
        if self._texts is not None:
            return torch.from_numpy(self._texts[texts]).to(self.module.device)
        parts = [self.material.texts[row] for row in texts]
        lots = (parts[start : start + _AT_ONCE] for start in range(0, len(parts), _AT_ONCE))
        return torch.cat([self.module.texts(lot).float() for lot in lots])


def _sound(pixels: NDArray[np.uint8] | ChiasmError) -> NDArray[np.uint8]:
    if isinstance(pixels, ChiasmError):
        raise pixels
    return pixels


def _unit(rows: Tensor) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = F.normalize(rows.float(), dim=-1).cpu().numpy()
    return vectors
