"""A model without weights for the tests: vectors from the first token, and tokens that make it misbehave."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chiasm.errors import CheckpointError, InvalidInput
from chiasm.modality import Modality
from chiasm.preprocess import ModelDescription, PreparedItem, PreparedPart

CRASHES = 666  # an ordinary exception, for the whole batch
REFUSED = 667  # one of our errors
NOT_A_NUMBER = 668
KILLS = 999  # takes the process down
HOLDS = 1001  # the interpreter's lock, for an hour
SLEEPS = 1000  # until the file named by CHIASM_TEST_GATE is there


def item(token: int, cost: float = 1.0) -> PreparedItem:
    return PreparedItem((PreparedPart(Modality.TEXT, {"token_ids": np.array([token], np.int32)}, 0, cost),))


def vector(token: int) -> np.ndarray:
    return np.array([np.cos(token), np.sin(token), 0, 0], np.float32)


class FakeModel:
    """Counts what it computes; ``gate`` holds it back while clear."""

    def __init__(self, revision: str = "r1") -> None:
        self.description = ModelDescription(
            name="fake", revision=revision, dimensions=4, modalities=(Modality.IMAGE,)
        )
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def embed_prepared(self, items: Sequence[PreparedItem], *, deadline: float | None = None) -> np.ndarray:
        tokens = [int(i.parts[0].arrays.get("token_ids", np.array([0]))[0]) for i in items]
        self.batches.append(tokens)
        self.entered.set()
        assert self.gate.wait(60)
        return np.stack([self._vector(token) for token in tokens])

    @property
    def tokens(self) -> list[int]:
        """All that was computed so far."""
        return [token for batch in self.batches for token in batch]

    def _vector(self, token: int) -> np.ndarray:
        if token == CRASHES:
            raise ZeroDivisionError("secret detail")
        if token == REFUSED:
            raise InvalidInput("expected another token", "应为其他词元", param="text")
        if token == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if token == SLEEPS:
            while not Path(os.environ["CHIASM_TEST_GATE"]).exists():
                time.sleep(0.01)
        if token == HOLDS:
            ctypes.PyDLL(None).sleep(3600)
        return np.full(4, np.nan, np.float32) if token == NOT_A_NUMBER else vector(token)


def load(source: str, *, device: str, precision: str) -> FakeModel:
    """``source`` is a file that holds the revision."""
    path = Path(source)
    if not path.exists():
        raise CheckpointError(f"expected a checkpoint in {source}", f"{source} 中应有检查点")
    return FakeModel(path.read_text(encoding="utf-8"))
