"""What a lane works with: a call that can be answered, and a model that is loaded."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chiasm.preprocess import Embedder
from chiasm.serving.messages import Payload
from chiasm.serving.observing import LaneObserver
from chiasm.serving.wire import Array


class Answerable(Protocol):
    """What the lane needs of a call."""

    @property
    def key(self) -> Hashable:
        """Names the call."""

    @property
    def caller(self) -> str:
        """For whom; each gets a fair share."""

    @property
    def deadline(self) -> float | None:
        """``time.monotonic()`` after which nobody waits."""

    @property
    def expired(self) -> bool:
        """Whether nobody waits any more."""

    def reply(self, payload: Payload, arrays: Sequence[Array] = ()) -> None:
        """Answer."""

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """A model that is loaded, and who is told of its work."""

    model: Embedder
    observer: LaneObserver = field(default_factory=LaneObserver)

    @property
    def revision(self) -> str:
        """Of the model."""
        return self.model.description.revision

    @property
    def dimensions(self) -> int:
        """Of its vectors."""
        return self.model.description.dimensions
