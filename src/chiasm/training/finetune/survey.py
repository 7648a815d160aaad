"""Before the first step every picture is read once, so that a bad one is found now and not in the night.

Where a tower is locked and its inputs are the same in every epoch, what it says of them is computed here,
once, and kept on disk: then an epoch costs what the other tower costs. Kept block by block: a pass that was
interrupted goes on.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chiasm.errors import ChiasmError, UnsupportedMedia
from chiasm.preprocess import PreparedPart
from chiasm.training.finetune.kept import KeptRows, read_note, write_note
from chiasm.training.finetune.pairs import Refused
from chiasm.training.finetune.pictures import PictureReader
from chiasm.training.finetune.towers import Towers
from chiasm.training.loop import Log

LOT = 32


class Stopped(Exception):
    """Somebody asked to stop before a pass was over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """One pass over all inputs: who computes, where it is kept, who is told, and who may stop it."""

    towers: Towers
    work: Path
    precision: Callable[[], AbstractContextManager[Any]]
    log: Log
    stop: Callable[[], bool]

    def pictures(
        self, files: Sequence[Path], reader: PictureReader, *, keep: bool, skip_bad: bool
    ) -> tuple[KeptRows | None, dict[int, Refused]]:
        """Rows ``[files, width]`` if they are to be kept, and the files that cannot be read.

        Raises:
            ChiasmError: the first such file, unless bad ones are to be skipped.
            Stopped: before all were read.
        """
        rows = KeptRows(self.work / "pictures.npy", len(files), self.towers.widths[0]) if keep else None
        note = self._note("pictures")
        if note["refused"] and not skip_bad:
            _, _, en, zh = note["refused"][0]
            raise UnsupportedMedia(en, zh, param="data")
        lots: Any = reader.attempts(files[note["done"] :], reader.read if keep else reader.check, LOT)
        for lot in lots:
            first = note["done"]
            for row, got in enumerate(lot, first):
                if isinstance(got, ChiasmError):
                    if not skip_bad:
                        raise got
                    note["refused"].append([row, str(files[row]), got.en, got.zh])
            if rows is not None:
                rows.put(first, self._encoded(lot))
            self._went("pictures", note, first + len(lot), len(files))
        return rows, {row: Refused(*told) for row, *told in note["refused"]}

    def texts(self, texts: Sequence[PreparedPart]) -> KeptRows:
        """Rows ``[texts, width]``; raises Stopped before all were read."""
        rows = KeptRows(self.work / "texts.npy", len(texts), self.towers.widths[1])
        note = self._note("texts")
        for first in range(note["done"], len(texts), LOT):
            lot = list(texts[first : first + LOT])
            with torch.inference_mode(), self.precision():
                rows.put(first, self.towers.texts(lot).float().cpu().numpy())
            self._went("texts", note, first + len(lot), len(texts))
        return rows

    def _encoded(self, lot: Sequence[NDArray[np.uint8] | ChiasmError]) -> NDArray[np.float32]:
        fine = {n: pixels for n, pixels in enumerate(lot) if not isinstance(pixels, ChiasmError)}
        block = np.zeros((len(lot), self.towers.widths[0]), dtype=np.float32)
        if fine:
            with torch.inference_mode(), self.precision():
                rows = self.towers.images(torch.from_numpy(np.stack(list(fine.values()))))
            block[list(fine)] = rows.float().cpu().numpy()
        return block

    def _note(self, name: str) -> dict[str, Any]:
        note: dict[str, Any] = read_note(self.work / f"{name}.json") or {"done": 0, "refused": []}
        return note

    def _went(self, name: str, note: dict[str, Any], done: int, of: int) -> None:
        note["done"] = done
        write_note(self.work / f"{name}.json", note)
        self.log({"stage": name, "step": done, "steps": of})
        if done < of and self.stop():
            raise Stopped
