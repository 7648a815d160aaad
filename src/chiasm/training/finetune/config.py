"""What can be chosen about fine-tuning."""

from dataclasses import dataclass
from typing import Literal, get_args

from chiasm.errors import InvalidInput

Part = Literal["all", "text", "image", "head"]
"""What is trained: both towers; one of them, with its projection; or the projections alone."""
Accuracy = Literal["auto", "float32"]
RATES: dict[Part, float] = {"all": 1e-5, "text": 1e-5, "image": 1e-5, "head": 1e-3}


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How to train.

    Attributes:
        part: what is trained. The temperature always is, too.
        epochs: how often each pair is seen, about: an epoch is as many whole batches as the pairs fill.
        batch: pairs that are contrasted with each other; fewer where there are fewer.
        learning_rate: the highest; of each part its own where none is given (:data:`RATES`).
        warm_up: share of all steps in which it rises from 0; then it falls as half a cosine.
        weight_decay: of matrices; vectors (biases, norms) and the temperature have none.
        clip: bound of the gradient's norm.
        crop: least share of a picture's area that a random cut takes, each time another; 0 takes it whole.
        hold_out: share of the pictures that are kept for validation, with all their texts.
        accuracy: ``auto`` multiplies in bfloat16 where the device is made for it; weights are float32.
        seed: of the order, the cuts, and what is held out.
        skip_bad: leave pairs that cannot be read out, and tell, instead of failing.
        threads: that read pictures.

    Raises:
        InvalidInput: a value out of its range.
    """

    part: Part = "all"
    epochs: int = 5
    batch: int = 64
    learning_rate: float | None = None
    warm_up: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    crop: float = 0.0
    hold_out: float = 0.1
    accuracy: Accuracy = "auto"
    seed: int = 0
    skip_bad: bool = False
    threads: int = 4

    def __post_init__(self) -> None:
        _among("part", self.part, get_args(Part))
        _among("accuracy", self.accuracy, get_args(Accuracy))
        for name, least, most in (
            ("epochs", 1, 100_000), ("batch", 2, 1 << 20), ("seed", 0, 1 << 31), ("threads", 1, 256),
            ("rate", 1e-12, 10.0), ("warm_up", 0.0, 1.0), ("weight_decay", 0.0, 10.0), ("clip", 1e-6, 1e6),
            ("crop", 0.0, 1.0), ("hold_out", 0.0, 0.9),
        ):  # fmt: skip
            value = getattr(self, name)
            if not least <= value <= most:
                told = "learning_rate" if name == "rate" else name
                raise InvalidInput(
                    f"{told}: expected {least:g} to {most:g}, got {value!r}",
                    f"{told} 应为 {least:g} 至 {most:g}，实际为 {value!r}",
                    param=told,
                )

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return RATES[self.part] if self.learning_rate is None else self.learning_rate


def _among(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidInput(
            f"{name}: expected one of {', '.join(known)}, got {value!r}",
            f"{name} 应为 {'、'.join(known)} 之一，实际为 {value!r}",
            param=name,
        )
