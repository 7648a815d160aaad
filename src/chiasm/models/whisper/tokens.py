"""What Whisper's tokens mean (Radford et al. 2022, fig. 1 and sec. 3.8): languages, tasks, times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from chiasm.errors import InvalidInput

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, kw_only=True)
class SpeechTokens:
    """What tokens mean, and which must not be said. As in ``generation_config.json``.

    Attributes:
        start, end: begin and end of a transcript.
        no_timestamps: announces that no times are given; the timestamps follow it, from 0 s on.
        languages: by code (``en``); none in a model of English alone.
        tasks: ``transcribe`` and ``translate`` (into English), or none.
        suppressed: never said. first_suppressed: not said first.
        latest_first: ticks at which the first timestamp may be at most.
        most: tokens of a window.
    """

    start: int
    end: int
    no_timestamps: int
    languages: Mapping[str, int]
    tasks: Mapping[str, int]
    suppressed: Sequence[int] = ()
    first_suppressed: Sequence[int] = ()
    latest_first: int | None = None
    most: int = 448

    def prefix(self, language: str | None, task: Task, timestamps: bool) -> list[int]:
        """The tokens that a transcript is made to begin with.

        Raises:
            InvalidInput: a language or task that the model does not know.
        """
        forced = [self.start]
        if self.languages:
            forced.append(_known("language", language, self.languages))
            forced.append(_known("task", task, self.tasks))
        elif language not in {None, "en"} or task != "transcribe":
            raise InvalidInput(
                f"expected English to be transcribed, all that this model does, got {language}, {task}",
                f"该模型只能转写英语，实际要求为 {language}、{task}",
                param="language",
            )
        return forced if timestamps else [*forced, self.no_timestamps]


def apply_timestamp_rules(logits_v: Tensor, said: Sequence[int], tokens: SpeechTokens) -> None:
    """Forbid, in place, what would not be text between timestamps in order.

    A transcript begins with a timestamp; a text is followed by two, its end and the begin of the next, or by
    one and the end; time never goes back, and only a begin may be at the end before it. Where all timestamps
    together are likelier than the likeliest text, one of them comes.
    """
    zero = tokens.no_timestamps + 1
    stamped = [token >= zero for token in said[-2:]]
    logits_v[tokens.no_timestamps] = -torch.inf
    if not said:
        logits_v[:zero] = -torch.inf
        if tokens.latest_first is not None:
            logits_v[zero + tokens.latest_first + 1 :] = -torch.inf
    elif stamped[-1]:
        if len(stamped) < 2 or stamped[0]:
            logits_v[zero:] = -torch.inf
        else:
            logits_v[: tokens.end] = -torch.inf
    last = next((token for token in reversed(said) if token >= zero), None)
    if last is not None:
        logits_v[zero : last if stamped == [False, True] else last + 1] = -torch.inf
    shares_v = F.log_softmax(logits_v, dim=-1)
    if bool(shares_v[zero:].logsumexp(dim=-1) > shares_v[:zero].max()):
        logits_v[:zero] = -torch.inf


def split_by_time(
    said: Sequence[int], zero: int, frames: int
) -> tuple[list[tuple[int, int, list[int]]], int]:
    """Segments of a window ``(start, end, tokens)`` in ticks, and the frames until the next window.

    They part between two timestamps. What is behind the last such place is heard again in the next window,
    unless it ends with a timestamp: then nothing was said any more.

    Args:
        zero: the timestamp of 0 s; lesser tokens are text.
        frames: of the window.
    """
    if not said:
        return [], frames
    stamped = [token >= zero for token in said]
    cuts = [n for n in range(1, len(said)) if stamped[n - 1] and stamped[n]]
    closed = stamped[-2:] == [False, True]
    if not cuts:
        last = next((token - zero for token in reversed(said) if token >= zero), 0)
        return [(0, last or frames // 2, list(said))], frames
    ends = [*cuts, len(said)] if closed else cuts
    pieces = [list(said[a:b]) for a, b in pairwise([0, *ends])]
    step = frames if closed else 2 * (said[cuts[-1] - 1] - zero)
    return [(piece[0] - zero, piece[-1] - zero, piece) for piece in pieces], step or frames


def _known(what: str, name: str | None, table: Mapping[str, int]) -> int:
    if name is None or name not in table:
        raise InvalidInput(
            f"expected one of the {what}s {sorted(table)}, got {name!r}",
            f"{what} 应为 {sorted(table)} 之一，实际为 {name!r}",
            param=what,
        )
    return table[name]
