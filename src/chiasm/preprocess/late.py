"""Preparing for a model that is elsewhere, and may not be there yet."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from chiasm.modality import Item
from chiasm.preprocess.description import ModelDescription
from chiasm.preprocess.prepared import Embedder, PreparedItem
from chiasm.preprocess.preprocessor import Preprocessor


class Prepares(Protocol):
    """Whatever turns items into model inputs: ``Preprocessor``, or :class:`LatePreprocessor`."""

    def prepare(self, item: Item) -> PreparedItem:
        """The item as the model takes it; raises InvalidInput."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedModel:
    """A model in another process, and what prepares for it."""

    embedder: Embedder
    preprocessor: Prepares


class Described(Protocol):
    """A model, or the client of one."""

    @property
    def description(self) -> ModelDescription:
        """Of the model; may raise Overloaded."""


class LatePreprocessor:
    """Prepares items for whatever model answers; made when it first answers, anew for another.

    Args:
        model: the client of one.
        make: the preprocessor of a model.
    """

    def __init__(self, model: Described, make: Callable[[ModelDescription], Preprocessor]) -> None:
        self._model = model
        self._make = make
        self._made: tuple[ModelDescription, Preprocessor] | None = None
        self._lock = Lock()

    def prepare(self, item: Item) -> PreparedItem:
        """The item as the model takes it.

        Raises:
            InvalidInput: a modality that the model does not take.
            Overloaded: the model is not there.
        """
        return self.now().prepare(item)

    def now(self) -> Preprocessor:
        """The present model's.

        Raises:
            Overloaded: the model is not there.
        """
        description = self._model.description
        with self._lock:
            if self._made is None or self._made[0] is not description:
                self._made = (description, self._make(description))
            return self._made[1]
