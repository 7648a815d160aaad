"""A call for something else than vectors: a task with all its items, computed by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chiasm.errors import InvalidInput
from chiasm.observe.carried import Carried
from chiasm.preprocess.prepared import Performer, PreparedItem
from chiasm.serving.observing import Answered
from chiasm.serving.packing import PerformAnswer, to_payload
from chiasm.serving.served import Answerable, Served

WEIGHTS: Mapping[str, float] = {"explain": 3.0}
"""What a task costs beside giving its items vectors: a way back is about twice the way there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Errand:
    """What is to be done, for whom, since when."""

    call: Answerable
    served: Served
    task: str
    items: Sequence[PreparedItem]
    options: Mapping[str, Any]
    arrival: float
    carried: Carried

    @property
    def cost(self) -> float:
        """In units of one picture through the image tower."""
        return WEIGHTS.get(self.task, 1.0) * sum(item.cost for item in self.items)

    def run(self, clock: Callable[[], float]) -> None:
        """Compute and answer.

        Raises:
            ChiasmError: the model cannot, or something in the items is wrong.
        """
        begun = clock()
        model = self.served.model
        if not isinstance(model, Performer):
            raise InvalidInput(
                f"expected a model that can do more than vectors, got {model.description.name}",
                f"模型 {model.description.name} 只能给出向量",
                code="unsupported_task",
                param="model",
            )
        found = model.perform(self.task, self.items, self.options)
        seconds, waited = clock() - begun, max(0.0, begun - self.arrival)
        self.served.observer.computed(self.items, seconds)
        answer = PerformAnswer(dict(found.about), 1000 * waited, 1000 * seconds)
        self.call.reply(to_payload(answer), list(found.arrays))
        self.served.observer.answered(
            Answered(
                carried=self.carried,
                items=len(self.items),
                cached=0,
                failed=0,
                queued=waited,
                computed=seconds,
            )
        )
