"""Deciding between what the audio tower says of a sound and the words that were heard in it.

Three witnesses: the tower's own vector; the phrases of the lexicon that its CTC head spells; the transcript
of an English
recogniser that learnt from people. Each counts as much as it is sure; a sound that is no speech has no words.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chiasm.models.mini.audio import AudioOutput
from chiasm.models.mini.lexicon import Heard, Lexicon, english_share
from chiasm.preprocess.prepared import PreparedPart

_CACHED = 4096


@dataclass(frozen=True, kw_only=True)
class ListenerConfig:
    """How much each witness counts; chosen on validation voices.

    Attributes:
        own: weight of the tower's vector.
        spelt, spelt_from, spelt_steep: weight of the phrases spelt, times sigmoid(steep * (fit - from)).
        transcript, transcript_from, transcript_steep: the same of the recogniser, by its confidence.
        english_from: share of English sounds from which the recogniser, which knows nothing else, is asked.
        phrases: how many spelt phrases are mixed. tones: see ``Lexicon.hear``.
    """

    own: float = 1.0
    spelt: float = 2.0
    spelt_from: float = 0.4
    spelt_steep: float = 12.0
    transcript: float = 1.7
    transcript_from: float = 0.35
    transcript_steep: float = 8.0
    english_from: float = 0.4
    phrases: int = 5
    tones: float = 0.2


def mix(
    own: Tensor,
    spelt: Tensor,
    heard: Sequence[Heard],
    transcript: Tensor | None,
    confidence: float,
    *,
    speech: float,
    english: float,
    config: ListenerConfig,
) -> Tensor:
    """The vector of one sound.

    Args:
        own: unit vector [d] of the tower. spelt: unit text vectors [n, d] of ``heard``.
        transcript: vector [d] of the recogniser's words, at most of length 1, or None; with its confidence.
        speech: probability that this is speech. english: share of English in it.

    Returns:
        A unit vector [d].
    """
    total = config.own * own
    if heard:
        shares = torch.tensor([phrase.share for phrase in heard], dtype=own.dtype, device=own.device)
        weight = config.spelt * _gate(heard[0].fit, config.spelt_from, config.spelt_steep) * speech
        total = total + weight * (shares[:, None] * spelt).sum(0)
    if transcript is not None and english >= config.english_from:
        weight = (
            config.transcript * _gate(confidence, config.transcript_from, config.transcript_steep) * speech
        )
        total = total + weight * transcript
    return F.normalize(total, dim=-1)


def _gate(value: float, middle: float, steep: float) -> float:
    return float(1 / (1 + np.exp(-steep * (value - middle))))


class TextVectors(Protocol):
    """A model with a text tower."""

    def text_vectors(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """Token ids of n texts → unit vectors [n, d]."""


class LexiconListener:
    """The model's ``Listener``: spells, looks up, asks the text tower, mixes. Thread-safe.

    Args:
        lexicon: phrases to listen for. tokens: text → token ids int32 [t], special ones included.
        config: weights.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        tokens: Callable[[str], NDArray[np.int32]],
        config: ListenerConfig | None = None,
    ) -> None:
        self.lexicon, self.config = lexicon, config or ListenerConfig()
        self._tokens = tokens
        self._known: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def decide(self, output: AudioOutput, parts: Sequence[PreparedPart], model: "TextVectors") -> Tensor:
        """The unit vectors [b, d] of ``b`` sounds."""
        own = F.normalize(output.vector, dim=-1)
        logs = output.units.detach().log_softmax(-1).float().cpu().numpy()
        speech = output.speech.sigmoid().tolist()
        vectors = []
        for row, part in enumerate(parts):
            spelling = logs[row, : int(output.steps[row])]
            heard = (
                self.lexicon.hear(spelling, self.config.phrases, tones=self.config.tones)
                if speech[row] > 0.5
                else []
            )
            transcript, sure = _transcript(part, model)
            vectors.append(
                mix(
                    own[row],
                    self._vectors([phrase.text for phrase in heard], model).to(own),
                    heard,
                    transcript.to(own) if transcript is not None else None,
                    sure,
                    speech=speech[row],
                    english=english_share(spelling),
                    config=self.config,
                )
            )
        return torch.stack(vectors)

    def _vectors(self, texts: Sequence[str], model: "TextVectors") -> Tensor:
        with self._lock:
            known = {text: self._known[text] for text in texts if text in self._known}
        missing = [text for text in texts if text not in known]
        if missing:
            known |= dict(
                zip(missing, model.text_vectors([self._tokens(text) for text in missing]), strict=True)
            )
            with self._lock:
                self._known |= {text: known[text].detach() for text in missing}
                while len(self._known) > _CACHED:
                    self._known.popitem(last=False)
        return torch.stack([known[text] for text in texts]) if texts else torch.zeros(0)


def _transcript(part: PreparedPart, model: TextVectors) -> tuple[Tensor | None, float]:
    """The vectors of all that the recogniser may have heard, by their shares, and its confidence."""
    ids = part.arrays.get("transcript_ids")
    if ids is None:
        return None, 0.0
    phrases = np.split(ids, np.cumsum(part.arrays["transcript_lengths"])[:-1])
    vectors = model.text_vectors(phrases)
    shares = torch.from_numpy(part.arrays["transcript_shares"]).to(vectors)
    return shares @ vectors, float(part.arrays["transcript_confidence"][0])
