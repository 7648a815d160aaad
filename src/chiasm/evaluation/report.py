"""Figures with what is needed to judge them, as a table for people and as plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chiasm.evaluation.metrics import interval

Unit = Literal["%", "points", "cosine", "x", "s", "ms", "MB"]
_COLUMNS = ("what", "n", "gallery", "figure", "95 % interval", "chance", "baselines", "target")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure should be: at ``least``, or at ``most``, in the unit of its row (shares as 0 to 1)."""

    least: float | None = None
    most: float | None = None

    def met(self, figure: float) -> bool:
        """Whether ``figure`` is on the right side."""
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        group: the suite. what: what was measured. n: how many queries or repetitions.
        gallery: how many candidates there were; None where that means nothing.
        figure, low, high: the mean and its 95 % bootstrap interval; shares and points are 0 to 1.
        chance: what an order drawn at random gives. baselines: other figures to compare with.
    """

    group: str
    what: str
    n: int
    figure: float
    gallery: int | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    target: Target | None = None
    unit: Unit = "%"

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.target.met(self.figure)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures of one model, and what could not be measured and why."""

    model: str
    revision: str
    split: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        rows = [{**asdict(row), "baselines": dict(row.baselines), "met": row.met} for row in self.rows]
        return {
            "model": self.model,
            "revision": self.revision,
            "split": self.split,
            "rows": rows,
            "notes": list(self.notes),
        }

    def to_markdown(self) -> str:
        """One table for each group."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# {self.model} {self.revision}, {self.split}"
        for group in dict.fromkeys(row.group for row in self.rows):
            yield from (
                "",
                f"## {group}",
                "",
                "| " + " | ".join(_COLUMNS) + " |",
                "|" + "---|" * len(_COLUMNS),
            )
            yield from (_line(row) for row in self.rows if row.group == group)
        if self.notes:
            yield ""
            yield from (f"- {note}" for note in self.notes)


def measured(
    group: str,
    what: str,
    values: NDArray[np.generic],
    *,
    gallery: int | None = None,
    chance: float | None = None,
    baselines: Mapping[str, float] | None = None,
    target: Target | None = None,
    unit: Unit = "%",
) -> Row:
    """The row of a mean over ``values`` [n], one of each query."""
    low, high = interval(values)
    return Row(
        group=group,
        what=what,
        n=len(values),
        figure=float(np.asarray(values, dtype=np.float64).mean()),
        gallery=gallery,
        low=low,
        high=high,
        chance=chance,
        baselines=baselines or {},
        target=target,
        unit=unit,
    )


def shown(value: float, unit: Unit) -> str:
    """A figure as people read it."""
    match unit:
        case "%":
            return f"{100 * value:.1f} %"
        case "points":
            return f"{100 * value:+.1f} points"
        case "cosine":
            return f"{value:.4f}"
        case "ms" | "MB":
            return f"{value:.1f} {unit}"
        case _:
            return f"{value:.2f} {unit}"


def _line(row: Row) -> str:
    between = ""
    if row.low is not None and row.high is not None:
        between = f"{shown(row.low, row.unit)} – {shown(row.high, row.unit)}"
    cells = [
        row.what,
        str(row.n),
        "" if row.gallery is None else str(row.gallery),
        shown(row.figure, row.unit),
        between,
        "" if row.chance is None else shown(row.chance, row.unit),
        "; ".join(f"{name}: {shown(value, row.unit)}" for name, value in row.baselines.items()),
        _aim(row),
    ]
    return "| " + " | ".join(cells) + " |"


def _aim(row: Row) -> str:
    if row.target is None:
        return ""
    parts = []
    if row.target.least is not None:
        parts.append(f"≥ {shown(row.target.least, row.unit)}")
    if row.target.most is not None:
        parts.append(f"≤ {shown(row.target.most, row.unit)}")
    return f"{', '.join(parts)}: {'met' if row.met else 'missed'}"
