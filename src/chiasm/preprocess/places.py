"""What the positions of a sequence are: tokens of a text, patches of a picture, stretches of sound, frames.

Rows and columns of recorded attention are in the order of these lists.
"""

from typing import Literal, NamedTuple

Box = tuple[float, float, float, float]
Span = tuple[float, float]


class Place(NamedTuple):
    """One position, and its number among those of its kind.

    Attributes:
        box: of a patch: left, top, right, bottom as shares of what the model was shown.
        span: characters of a token; seconds of a stretch or a frame. None for what stands for nothing in
            particular, such as a class token or the end of a text.
    """

    kind: Literal["class", "patch", "token", "stretch", "frame"]
    number: int
    box: Box | None = None
    span: Span | None = None


def patch_places(rows: int, columns: int, *, class_token: bool = False) -> list[Place]:
    """Patches row by row, the class token first if there is one."""
    first = [Place("class", 0)] if class_token else []
    grid = ((r, c) for r in range(rows) for c in range(columns))
    return [
        *first,
        *(
            Place("patch", n, (c / columns, r / rows, (c + 1) / columns, (r + 1) / rows))
            for n, (r, c) in enumerate(grid)
        ),
    ]


def stretch_places(count: int, seconds: float) -> list[Place]:
    """``count`` equal stretches of a sound of so many seconds."""
    return [Place("stretch", n, span=(n * seconds / count, (n + 1) * seconds / count)) for n in range(count)]


def frame_places(count: int, seconds: float) -> list[Place]:
    """``count`` frames, each in the middle of its share of a clip."""
    return [Place("frame", n, span=(n * seconds / count, (n + 1) * seconds / count)) for n in range(count)]
