"""Shape of a ViLT and of its heads."""

from dataclasses import dataclass, field

from chiasm.models.bert.config import BertConfig
from chiasm.models.vit.config import VitConfig


def _vision() -> VitConfig:
    return VitConfig(side=384, patch=32, epsilon=1e-6)


def _text() -> BertConfig:
    return BertConfig(positions=40, width=768, depth=0)


@dataclass(frozen=True, kw_only=True)
class ViltConfig:
    """Defaults are ViLT-B/32 as it was published.

    Attributes:
        vision: the trunk, the patches and their positions; it has a class token.
        text: the embeddings of words; of its blocks there are none. Its epsilon is the words' head's, too.
        types: what a position can be of: 0 is the text, 1 a picture, 2 the second of two pictures.
        most_patches: of one picture; the others are left out. 0: all are taken.

    Raises:
        ValueError: the parts do not fit together.
    """

    vision: VitConfig = field(default_factory=_vision)
    text: BertConfig = field(default_factory=_text)
    types: int = 2
    most_patches: int = 0

    def __post_init__(self) -> None:
        if self.vision.width != self.text.width:
            raise ValueError(
                f"expected words and patches of one width, got {self.text.width} and {self.vision.width}"
            )
        if not self.vision.class_token:
            raise ValueError("expected a ViT with a class token, got one without")
        if self.types < 2:
            raise ValueError(f"expected at least 2 types, of texts and of pictures, got {self.types}")

    @property
    def width(self) -> int:
        """Of all states."""
        return self.vision.width


@dataclass(frozen=True, kw_only=True)
class ViltHeadsConfig:
    """Which heads there are.

    Attributes:
        words: the words that were masked (MLM); ``words_tied``: by the words' own embeddings.
        matching: whether text and picture belong together, yes or no (ITM).
        ranking: how well they do, as one number, fine-tuned for retrieval.
        answers: to questions about a picture (VQA), by name; none without that head.
        verdicts: on a sentence about several pictures (NLVR2), by name; none without that head.
        compared: how many pictures those are.
    """

    words: bool = False
    words_tied: bool = True
    matching: bool = False
    ranking: bool = False
    answers: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    compared: int = 2
