"""Transcription (Radford et al. 2022, sec. 2.3 and 3.8): the likeliest token each time, window by window.

Windows follow one another; sampling at higher temperatures, beams and conditioning on what was said before
are left out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from chiasm.modality import Audio
from chiasm.models.generate import greedy
from chiasm.models.whisper.frontend import HOP, log_mel, samples_of
from chiasm.models.whisper.model import TextDecoder, Whisper
from chiasm.models.whisper.tokens import SpeechTokens, Task, apply_timestamp_rules, split_by_time
from chiasm.nn.cache import KeyValueCache

TICK = 0.02
"""Seconds from one timestamp to the next: two log-mel frames."""
FRAME = 0.01


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What is said from ``start`` to ``end`` (seconds); ``tokens`` may hold timestamps, ``text`` does not.

    ``language`` is a code (none from a model of English alone).
    """

    start: float
    end: float
    language: str | None
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """All that is said; the language is the first segment's."""

    text: str
    language: str | None
    segments: tuple[Segment, ...]


class Speaker:
    """A :class:`~chiasm.models.generate.Decoder` before one window's states; what must not be said next has
    a logit of minus infinity.

    Args:
        states_bfd: of :meth:`Whisper.encode`.
        timestamps: whether times are given, by the rules for them.
    """

    def __init__(
        self, decoder: TextDecoder, states_bfd: Tensor, tokens: SpeechTokens, *, timestamps: bool = False
    ) -> None:
        self._decoder, self._states, self._tokens, self._timestamps = decoder, states_bfd, tokens, timestamps
        self._said_bt = torch.empty((len(states_bfd), 0), dtype=torch.long, device=states_bfd.device)
        self._banned = self._among(tokens.suppressed)
        self._banned_first = self._banned | self._among(tokens.first_suppressed)

    def new_cache(self, positions: int | None = None) -> list[KeyValueCache]:
        """An empty cache for one transcript, for which nothing is said yet."""
        self._said_bt = self._said_bt[:, :0]
        return self._decoder.new_cache(positions)

    def __call__(
        self, ids_bt: Tensor, mask_bs: Tensor | None = None, cache: Sequence[KeyValueCache] | None = None
    ) -> Tensor:
        """Logits of the next token ``[b, 1, vocabulary]``; the first tokens that come are the prefix."""
        first = cache is None or cache[0].length == 0
        banned_v = self._banned_first if first else self._banned
        logits_bv: Tensor = self._decoder(ids_bt, self._states, mask_bs, cache)[:, -1].float()
        if not first:
            self._said_bt = torch.cat([self._said_bt, ids_bt], dim=1)
        logits_bv = logits_bv.masked_fill(banned_v, -torch.inf)
        if self._timestamps:
            for logits_v, said_t in zip(logits_bv, self._said_bt.tolist(), strict=True):
                apply_timestamp_rules(logits_v, said_t, self._tokens)
        return logits_bv[:, None]

    def _among(self, ids: Sequence[int]) -> Tensor:
        device = self._states.device
        all_v = torch.arange(self._decoder.config.vocabulary, device=device)
        return torch.isin(all_v, torch.tensor(ids, dtype=torch.long, device=device))


@torch.inference_mode()
def detect_language(model: Whisper, states_bfd: Tensor, tokens: SpeechTokens) -> list[str]:
    """The likeliest language of each of ``b`` windows: that whose token is likeliest behind the start."""
    start_bt = torch.full((len(states_bfd), 1), tokens.start, device=states_bfd.device)
    codes, ids = list(tokens.languages), list(tokens.languages.values())
    best_b = model.decoder(start_bt, states_bfd)[:, -1][:, ids].argmax(dim=-1)
    return [codes[n] for n in best_b.tolist()]


@torch.inference_mode()
def generate(
    model: Whisper,
    states_bfd: Tensor,
    prefix: Sequence[int],
    tokens: SpeechTokens,
    *,
    timestamps: bool = False,
    most: int | None = None,
) -> list[list[int]]:
    """The tokens behind the prefix for each of ``b`` windows, without the end; at most ``most``."""
    room = min(tokens.most if most is None else most, model.config.positions - len(prefix))
    speaker = Speaker(model.decoder, states_bfd, tokens, timestamps=timestamps)
    prefix_bt = torch.tensor(prefix, device=states_bfd.device).expand(len(states_bfd), -1)
    steps = [step.tolist() for step in greedy(speaker, prefix_bt, room, ends=[tokens.end])]
    rows = [[step[n] for step in steps] for n in range(len(states_bfd))]
    return [row[: row.index(tokens.end)] if tokens.end in row else row for row in rows]


@torch.inference_mode()
def listen(
    model: Whisper,
    tokenizer: Tokenizer,
    tokens: SpeechTokens,
    audio: Audio,
    *,
    language: str | None = None,
    task: Task = "transcribe",
    timestamps: bool = False,
    most: int | None = None,
) -> Iterator[Segment]:
    """Segments as they are heard.

    Args:
        language: its code; detected in the first window if there is none.
        timestamps: a window ends where the last whole segment in it does, and segments have their times;
            else windows do not overlap, and each is a segment.
        most: tokens of a window.

    Raises:
        InvalidInput: a language or task that the model does not know.
    """
    if language is not None or not tokens.languages:
        tokens.prefix(language, task, timestamps)  # refused before anything is computed
    window, place = model.config.window, model.position
    samples_n = samples_of(audio).to(place.device)
    silence = max(0, window * HOP - len(samples_n))  # a short sound fills a window
    frames_fm = log_mel(F.pad(samples_n, (0, silence)), model.config.mels).to(place.dtype)
    at, until = 0, min(math.ceil(len(samples_n) / HOP), len(frames_fm))
    while at < until:
        own_fm = frames_fm[at : at + window]
        states_bfd = model.encode(F.pad(own_fm, (0, 0, 0, window - len(own_fm)))[None])
        if language is None and tokens.languages:
            (language,) = detect_language(model, states_bfd, tokens)
        prefix = tokens.prefix(language, task, timestamps)
        (said,) = generate(model, states_bfd, prefix, tokens, timestamps=timestamps, most=most)
        pieces, step = [(0, len(own_fm) // 2, said)] if said else [], window
        if timestamps:
            pieces, step = split_by_time(said, tokens.no_timestamps + 1, len(own_fm))
        for start, end, piece in pieces:
            begin = at * FRAME + start * TICK
            if begin >= audio.seconds:
                break  # in the silence that fills the window
            words = [token for token in piece if token <= tokens.no_timestamps]
            yield Segment(
                start=begin,
                end=min(at * FRAME + end * TICK, audio.seconds),
                language=language,
                text=tokenizer.decode(words, skip_special_tokens=True),
                tokens=tuple(piece),
            )
        at += step


def transcribe(
    model: Whisper,
    tokenizer: Tokenizer,
    tokens: SpeechTokens,
    audio: Audio,
    *,
    language: str | None = None,
    task: Task = "transcribe",
    timestamps: bool = False,
    most: int | None = None,
) -> Transcript:
    """All segments of :func:`listen` together; the arguments and errors are its."""
    segments = tuple(
        listen(
            model,
            tokenizer,
            tokens,
            audio,
            language=language,
            task=task,
            timestamps=timestamps,
            most=most,
        )
    )
    return Transcript(
        text="".join(segment.text for segment in segments).strip(),
        language=segments[0].language if segments else language,
        segments=segments,
    )
