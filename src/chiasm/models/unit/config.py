"""Shape of a UniT and of its tasks."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import nn

from chiasm.models.bert.config import BertConfig
from chiasm.nn.blocks import BlockConfig

Kind = Literal["detection", "classification"]
Side = Literal["picture", "text"]
Seen = Literal["all", "first"]


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """One task (Hu & Singh 2021, sec. 3.3 and 3.4).

    Attributes:
        name: of its weights, too: letters, digits and ``_``.
        kind: ``detection``: every query is an object or none. ``classification``: the first query answers.
        modalities: what it is about.
        queries: how many look at the memory.
        classes: of objects, or answers.
        several: several answers can be right, each to a degree in [0, 1] (VQA).
        attributes: of objects; 0: none are asked for.
        text: which of the text's states the decoder sees: ``all``, or the ``first``, [CLS].
        labels: names of the classes; without them, their numbers from 0.

    Raises:
        ValueError: what is no task.
    """

    name: str
    kind: Kind
    modalities: tuple[Side, ...]
    queries: int = 25
    classes: int
    several: bool = False
    attributes: int = 0
    text: Seen = "all"
    labels: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all classes."""
        return self.labels or tuple(str(number) for number in range(self.classes))

    def __post_init__(self) -> None:
        if self.labels and len(self.labels) != self.classes:
            raise ValueError(f"expected {self.classes} labels of {self.name!r}, got {len(self.labels)}")
        if not self.name.isidentifier() or hasattr(nn.ModuleDict, self.name):
            raise ValueError(f"expected a task's name of letters, digits and _, got {self.name!r}")
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected one of {get_args(Kind)}, got {self.kind!r}")
        if self.text not in get_args(Seen):
            raise ValueError(f"expected one of {get_args(Seen)}, got {self.text!r}")
        sides = set(self.modalities)
        if not sides or len(sides) != len(self.modalities) or not sides <= set(get_args(Side)):
            raise ValueError(f"expected some of {get_args(Side)}, each once, got {self.modalities}")
        if self.kind == "detection" and "picture" not in sides:
            raise ValueError(
                f"expected pictures in which {self.name!r} detects objects, got {self.modalities}"
            )
        if self.queries < 1 or self.classes < 1:
            raise ValueError(
                f"expected at least one query and one class, got {self.queries} and {self.classes}"
            )
        if self.attributes < 0 or (self.attributes and self.kind != "detection"):
            raise ValueError(f"expected attributes of detected objects only, got {self.attributes}")
        if self.several and self.kind == "detection":
            raise ValueError(f"expected one class of an object, got several in {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Defaults are ResNet-50 (He et al. 2016, table 1) with a dilated last stage (DC5).

    Attributes:
        stem: channels after the first convolution.
        depths, widths: blocks and channels of the stages; each but the first halves the sides.
        squeeze: by how much the inner channels of a block are fewer.
        dilated: the last stage spreads its kernels instead of halving the sides (Carion et al. 2020, sec. 4).
        frozen: how many of (stem, first stage, second stage, …) are not trained.
        mean, std: of the channels, in [0, 1].

    Raises:
        ValueError: the parts do not fit together.
    """

    stem: int = 64
    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    squeeze: int = 4
    dilated: bool = True
    frozen: int = 2
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not self.depths or len(self.depths) != len(self.widths) or min(self.depths) < 1:
            raise ValueError(
                f"expected blocks and a width for every stage, got {self.depths} and {self.widths}"
            )
        if any(width < self.squeeze or width % self.squeeze for width in self.widths):
            raise ValueError(f"expected widths divisible by {self.squeeze}, got {self.widths}")
        if self.dilated and len(self.depths) < 2:
            raise ValueError("expected at least two stages of which the last is dilated, got one")
        if not 0 <= self.frozen <= 1 + len(self.depths):
            raise ValueError(f"expected 0 to {1 + len(self.depths)} frozen parts, got {self.frozen}")

    @property
    def stride(self) -> int:
        """Pixels from one cell of the last stage to the next."""
        return int(4 * 2 ** (len(self.depths) - 1 - self.dilated))


def _base_bert() -> BertConfig:
    return BertConfig(width=768, depth=12, hidden=3072)


@dataclass(frozen=True, kw_only=True)
class UnitConfig:
    """Defaults are UniT as it was published, for all its tasks with one decoder (Hu & Singh 2021, sec. 3).

    Attributes:
        tasks: at least one.
        resnet, text: the convolutional network and the text encoder; without tasks that need it, neither is
            there.
        encoder_width, encoder_depth: of the Transformer over the cells of a picture.
        width, depth: of the decoder.
        heads, hidden, epsilon: of both Transformers.
        shared: all tasks have one decoder; else each its own.
        task_tokens: both encoders read a token of the task.
        residual: what goes into the picture's Transformer is added to what comes out.

    Raises:
        ValueError: the parts do not fit together.
    """

    tasks: tuple[TaskConfig, ...] = field(default_factory=lambda: PUBLISHED_TASKS)
    resnet: ResNetConfig = field(default_factory=ResNetConfig)
    text: BertConfig = field(default_factory=_base_bert)
    encoder_width: int = 256
    encoder_depth: int = 6
    width: int = 768
    depth: int = 6
    heads: int = 8
    hidden: int = 2048
    epsilon: float = 1e-5
    shared: bool = True
    task_tokens: bool = True
    residual: bool = True

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected tasks of different names, got {names}")
        if self.encoder_width % 4:  # sines and cosines of rows and of columns
            raise ValueError(f"expected an encoder width divisible by 4, got {self.encoder_width}")
        if self.depth < 1:
            raise ValueError(f"expected at least one block of the decoder, got {self.depth}")

    def needs(self, side: Side) -> bool:
        """Whether any task is about pictures or texts."""
        return any(side in task.modalities for task in self.tasks)

    def task(self, name: str) -> TaskConfig:
        """The task of this name.

        Raises:
            ValueError: there is none.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise ValueError(f"expected one of the tasks {[task.name for task in self.tasks]}, got {name!r}")

    def block(self, *, across: bool) -> BlockConfig:
        """Shape of a block of the picture's encoder or (``across``) of the decoder."""
        width = self.width if across else self.encoder_width
        return BlockConfig(
            width=width,
            heads=self.heads,
            hidden=self.hidden,
            norm="post",
            activation="relu",
            epsilon=self.epsilon,
            context_width=width if across else None,
        )


def _detection(name: str, classes: int, attributes: int = 0) -> TaskConfig:
    return TaskConfig(
        name=name,
        kind="detection",
        modalities=("picture",),
        queries=100,
        classes=classes,
        attributes=attributes,
    )


def _glue(name: str, classes: int) -> TaskConfig:
    return TaskConfig(
        name=f"glue_{name}", kind="classification", modalities=("text",), classes=classes, text="first"
    )


PUBLISHED_TASKS: tuple[TaskConfig, ...] = (
    _detection("detection_coco", 91),
    _detection("detection_visual_genome", 1601, 401),
    TaskConfig(
        name="vqa2", kind="classification", modalities=("picture", "text"), classes=3129, several=True
    ),
    TaskConfig(
        name="visual_entailment",
        kind="classification",
        modalities=("picture", "text"),
        classes=3,
        text="first",
    ),
    _glue("qnli", 2),
    _glue("mnli_mismatched", 3),
    _glue("sst2", 2),
    _glue("qqp", 2),
)
"""The eight data sets of the paper (Hu & Singh 2021, sec. 4.2) by the names of its checkpoints."""
