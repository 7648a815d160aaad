"""What ViLT answers (Kim et al. 2021, sec. 3.2 and 4): masked words, whether and how well a text and a
picture belong together, questions about a picture, sentences about two pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.errors import InvalidInput
from chiasm.models.batching import TOKENS_AT_ONCE, pad_ids
from chiasm.models.vilt.config import ViltConfig, ViltHeadsConfig
from chiasm.models.vilt.model import Grid, Vilt
from chiasm.nn.blocks import Activation, activate
from chiasm.preprocess.prepared import PreparedPart

CLASSIFIER_EPSILON = 1e-5
Pictures = Sequence[PreparedPart]
H = TypeVar("H", bound=nn.Module)


class Answer(NamedTuple):
    """``probability`` is in [0, 1]; those of a question do not sum to 1: several answers can be right."""

    text: str
    probability: float


class WordHead(nn.Module):
    """States of tokens → logits of words (Devlin et al. 2019, as in BERT's own masked language model)."""

    def __init__(
        self, width: int, vocabulary: int, activation: Activation, epsilon: float, *, tied: bool
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.weight = None if tied else nn.Parameter(torch.randn(vocabulary, width) * 0.02)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states_btd: Tensor, words_vd: Tensor) -> Tensor:
        """``[b, t, vocabulary]``. words_vd: embeddings of words, which are the output layer if it is tied."""
        x_btd = self.norm(activate(self.dense(states_btd), self.activation))
        return F.linear(x_btd, words_vd if self.weight is None else self.weight, self.bias)


class Classifier(nn.Module):
    """Two linear maps with a normalisation and GELU between them."""

    def __init__(self, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=CLASSIFIER_EPSILON)
        self.contract = nn.Linear(hidden, classes)

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """``[b, width]`` → ``[b, classes]``."""
        logits: Tensor = self.contract(F.gelu(self.norm(self.expand(pooled_bd))))
        return logits


class HeadedVilt(nn.Module):
    """The trunk and those heads that there are.

    What takes prepared parts computes them in batches of like size, so that little is padded, and answers in
    their order.

    Raises:
        InvalidInput: a head that is not there; as many texts as pictures were expected.
    """

    def __init__(self, config: ViltConfig, heads: ViltHeadsConfig) -> None:
        super().__init__()
        c, width = config, config.width
        self.config, self.heads = config, heads
        self.vilt = Vilt(config)
        self.words = (
            WordHead(width, c.text.vocabulary, c.text.activation, c.text.epsilon, tied=heads.words_tied)
            if heads.words
            else None
        )
        self.matching = nn.Linear(width, 2) if heads.matching else None  # no, yes
        self.ranking = nn.Linear(width, 1) if heads.ranking else None
        self.answers = Classifier(width, 2 * width, len(heads.answers)) if heads.answers else None
        several = heads.compared * width
        self.verdicts = Classifier(several, several, len(heads.verdicts)) if heads.verdicts else None

    def word_logits(self, states_btd: Tensor) -> Tensor:
        """Of the text's states: which word each token is, ``[b, t, vocabulary]`` (MLM)."""
        logits: Tensor = _there(self.words, "words")(states_btd, self.vilt.texts.bert.token.weight)
        return logits

    def fit(self, pooled_bd: Tensor) -> Tensor:
        """How well text and picture belong together, ``[b]``: the ranking's number if there is that head,
        else the logit of their match, whose sigmoid is its probability (ITM)."""
        if self.ranking is not None:
            ranked_bc: Tensor = self.ranking(pooled_bd)
            return ranked_bc[:, 0]
        logits_bc: Tensor = _there(self.matching, "matching or ranking")(pooled_bd)
        return logits_bc[:, 1] - logits_bc[:, 0]

    def answer_logits(self, pooled_bd: Tensor) -> Tensor:
        """``[b, answers]`` (VQA); each has a probability of its own."""
        logits: Tensor = _there(self.answers, "answers")(pooled_bd)
        return logits

    def verdict_logits(self, pooled_bnd: Tensor) -> Tensor:
        """``[b, verdicts]`` of a sentence's vectors with each of n pictures, the n-th of type n (NLVR2)."""
        head = _there(self.verdicts, "verdicts")
        if pooled_bnd.shape[1] != self.heads.compared:
            raise _mismatch(
                "pictures for each text", "每段文字的图片", self.heads.compared, pooled_bnd.shape[1]
            )
        logits: Tensor = head(pooled_bnd.flatten(1))
        return logits

    @torch.no_grad()
    def start_ranking(self) -> None:
        """Begin the ranking from what says that a pair belongs together, to be fine-tuned (sec. 4.4)."""
        matching, ranking = _there(self.matching, "matching"), _there(self.ranking, "ranking")
        ranking.weight.copy_(matching.weight[1:])
        ranking.bias.copy_(matching.bias[1:])

    def score(self, pictures: Pictures, texts: Sequence[PreparedPart]) -> Tensor:
        """:meth:`fit` of the n-th picture and the n-th text, float32 ``[n]``; higher is better."""
        _there(self.ranking if self.ranking is not None else self.matching, "matching or ranking")
        return self._over([pictures], texts, lambda pooled_bnd: self.fit(pooled_bnd[:, 0]), ())

    def answer(
        self, pictures: Pictures, questions: Sequence[PreparedPart], top_k: int = 5
    ) -> list[list[Answer]]:
        """The likeliest answers to the n-th question about the n-th picture, best first."""
        _there(self.answers, "answers")
        names = self.heads.answers
        logits_nc = self._over(
            [pictures], questions, lambda pooled_bnd: self.answer_logits(pooled_bnd[:, 0]), (len(names),)
        )
        best = logits_nc.sigmoid().topk(max(0, min(top_k, len(names))), dim=-1)
        return [
            [Answer(names[number], value) for value, number in zip(*row, strict=True)]
            for row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def compare(self, pictures: Sequence[Pictures], texts: Sequence[PreparedPart]) -> Tensor:
        """Probabilities of the verdicts on each text, float32 ``[n, verdicts]``.

        Args:
            pictures: the first of each text, the second of each text, …
        """
        _there(self.verdicts, "verdicts")
        if len(pictures) != self.heads.compared:
            raise _mismatch("pictures for each text", "每段文字的图片", self.heads.compared, len(pictures))
        shape = (len(self.heads.verdicts),)
        return self._over(pictures, texts, self.verdict_logits, shape).softmax(dim=-1)

    def _over(
        self,
        pictures: Sequence[Pictures],
        texts: Sequence[PreparedPart],
        head: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
    ) -> Tensor:
        for own in pictures:
            if len(own) != len(texts):
                raise _mismatch("pictures", "图片", len(texts), len(own))
        device = self.vilt.type_nd.device
        found = torch.zeros((len(texts), *shape), device=device)
        for batch in _batches(pictures, texts, self.config.vision.patch):
            ids_bt, real_bt = pad_ids([texts[n] for n in batch], device)
            # attention without a mask is faster
            mask_bt = None if len({len(texts[n].arrays["token_ids"]) for n in batch}) == 1 else real_bt
            pooled = []
            for number, own in enumerate(pictures, 1):
                pixels_bhwc, sizes = pad_pixels([own[n] for n in batch], device)
                pooled.append(self.vilt.vector(ids_bt, pixels_bhwc, mask_bt, sizes, picture=number))
            found[batch] = head(torch.stack(pooled, dim=1)).float()
        return found


def pad_pixels(parts: Pictures, device: torch.device) -> tuple[Tensor, list[Grid]]:
    """uint8 ``[b, h, w, 3]`` of pictures of several sizes, each in the upper left corner, and their sizes."""
    pictures = [np.asarray(part.arrays["pixels"]) for part in parts]
    sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
    height, width = (max(side) for side in zip(*sizes, strict=True))
    pixels = np.zeros((len(pictures), height, width, 3), np.uint8)
    for n, (picture, (h, w)) in enumerate(zip(pictures, sizes, strict=True)):
        pixels[n, :h, :w] = picture
    return torch.from_numpy(pixels).to(device), sizes


def _batches(pictures: Sequence[Pictures], texts: Sequence[PreparedPart], patch: int) -> Iterator[list[int]]:
    """Pairs by the number of patches; each batch within what one pass should hold."""
    patches = [
        max(own[n].arrays["pixels"].shape[0] * own[n].arrays["pixels"].shape[1] for own in pictures)
        // patch**2
        for n in range(len(texts))
    ]
    words = [len(part.arrays["token_ids"]) for part in texts]
    batch: list[int] = []
    longest = 0
    for n in sorted(range(len(texts)), key=lambda n: (patches[n], words[n])):
        longest = max(longest, words[n])
        if batch and (patches[n] + 1 + longest) * (len(batch) + 1) > TOKENS_AT_ONCE:
            yield batch
            batch, longest = [], words[n]
        batch.append(n)
    if batch:
        yield batch


def _there(head: H | None, name: str) -> H:
    if head is None:
        raise InvalidInput(
            f"expected a ViLT with a head for {name}, got one without",
            f"此 ViLT 模型没有 {name} 头",
            code="unsupported_task",
        )
    return head


def _mismatch(what: str, what_zh: str, wanted: int, got: int) -> InvalidInput:
    return InvalidInput(f"expected {wanted} {what}, got {got}", f"{what_zh}应为 {wanted} 个，实际为 {got} 个")
