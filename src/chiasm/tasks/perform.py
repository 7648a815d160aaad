"""Whatever a model does besides vectors, by its name: one message in, one message out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.preprocess.prepared import PreparedItem
from chiasm.tasks.explain import explain_items
from chiasm.tasks.pairs import answer_items, detect_items, match_items

Message = tuple[dict[str, Any], list[NDArray[Any]]]
Task = Callable[[object, Sequence[PreparedItem], Mapping[str, Any]], Message]

TASKS: Mapping[str, Task] = {
    "explain": explain_items,
    "match": match_items,
    "answer": answer_items,
    "detect": detect_items,
}


def perform(model: object, task: str, items: Sequence[PreparedItem], options: Mapping[str, Any]) -> Message:
    """What a task makes of items, as data and arrays.

    Raises:
        InvalidInput: no such task, one that the model cannot do, or options that it does not take.
    """
    if task not in TASKS:
        raise InvalidInput(
            f"expected one of the tasks {', '.join(TASKS)}, got {task[:100]!r}",
            f"任务应为 {'、'.join(TASKS)} 之一，实际为 {task[:100]!r}",
            code="unsupported_task",
            param="task",
        )
    return TASKS[task](model, items, options)
