"""Heads over what stands for a pair, as ViLT and METER have them, and their answers on prepared parts."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from chiasm.errors import InvalidInput
from chiasm.models.pairs import Answer, PairBatch, Pictures, likeliest, mismatch, over_pairs
from chiasm.models.traced_pair import PairTrunk, TracedPair, trace_pair
from chiasm.preprocess.prepared import PreparedPart

H = TypeVar("H", bound=nn.Module)


class PairHeadsConfig(Protocol):
    """The names of answers to questions, and of verdicts on a sentence about ``compared`` pictures."""

    @property
    def answers(self) -> tuple[str, ...]: ...

    @property
    def verdicts(self) -> tuple[str, ...]: ...

    @property
    def compared(self) -> int: ...


class PairHeads(nn.Module):
    """A model that reads a text and a picture together, with those heads that there are.

    What takes prepared parts computes them in batches of like size, and answers in their order.

    Raises:
        InvalidInput: a head that is not there; as many texts as pictures were expected.
    """

    family: ClassVar[str]
    padded: ClassVar[bool]
    """Whether pictures of different sizes may be computed at once."""
    heads: PairHeadsConfig
    words: nn.Module | None
    matching: nn.Linear | None
    """No, yes."""
    ranking: nn.Linear | None
    answers: nn.Module | None
    verdicts: nn.Module | None

    @property
    @abstractmethod
    def cell(self) -> int:
        """Pixels of the side of a patch."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The tasks that there are heads for."""
        tasks = {
            "match": self.matching is not None or self.ranking is not None,
            "answer": self.answers is not None,
            "compare": self.verdicts is not None,
            "fill": self.words is not None,
        }
        return tuple(task for task, there in tasks.items() if there)

    @abstractmethod
    def vectors(self, batch: PairBatch) -> Tensor:
        """What stands for each text with each of its pictures, ``[b, pictures, d]``."""

    @property
    @abstractmethod
    def trunk(self) -> PairTrunk:
        """What reads both sides."""

    def said(self, pooled_bd: Tensor) -> dict[str, Tensor]:
        """Logits of the first pair by the names of those heads that there are: ``match`` ``[]``, ``answer``
        ``[answers]``."""
        found = {}
        if self.ranking is not None or self.matching is not None:
            found["match"] = self.fit(pooled_bd)[0]
        if self.answers is not None:
            found["answer"] = self.answer_logits(pooled_bd)[0]
        return found

    def trace_pair(self, picture: PreparedPart, text: PreparedPart) -> TracedPair:
        """A pair with all that is looked at on its way to what is :meth:`said`."""

        def compute(pixels_bhwc: Tensor, ids_bt: Tensor) -> dict[str, Tensor]:
            _, height, width, _ = pixels_bhwc.shape
            batch = PairBatch(ids_bt, None, [(pixels_bhwc, [(height, width)])])
            return self.said(self.vectors(batch)[:, 0])

        return trace_pair(
            picture,
            text,
            compute,
            flow=self.trunk.flow,
            places=self.trunk.picture_places,
            embedding=self.trunk.embedding,
            device=next(self.parameters()).device,
            names=self.class_names(),
        )

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes of what is :meth:`said`."""
        return {"answer": self.heads.answers}

    def match_logits(self, pooled_bd: Tensor) -> Tensor:
        """``[b, 2]``: that text and picture do not belong together, and that they do (ITM)."""
        logits: Tensor = self.there(self.matching, "matching or ranking")(pooled_bd)
        return logits

    def fit(self, pooled_bd: Tensor) -> Tensor:
        """How well text and picture belong together, ``[b]``: the ranking's number if there is that head,
        else the logit of their match, whose sigmoid is its probability, the softmax over no and yes (ITM).
        """
        if self.ranking is not None:
            ranked_bc: Tensor = self.ranking(pooled_bd)
            return ranked_bc[:, 0]
        logits_bc = self.match_logits(pooled_bd)
        return logits_bc[:, 1] - logits_bc[:, 0]

    def answer_logits(self, pooled_bd: Tensor) -> Tensor:
        """``[b, answers]`` (VQA); each has a probability of its own."""
        logits: Tensor = self.there(self.answers, "answers")(pooled_bd)
        return logits

    def likeliest(self, pooled_bd: Tensor, top_k: int = 5) -> list[list[Answer]]:
        """The likeliest answers to each question, best first."""
        return likeliest(self.answer_logits(pooled_bd).sigmoid(), self.heads.answers, top_k)

    def verdict_logits(self, pooled_bnd: Tensor) -> Tensor:
        """``[b, verdicts]`` of a sentence's vectors with each of n pictures, the n-th of type n (NLVR2)."""
        head = self.there(self.verdicts, "verdicts")
        self._expect_compared(pooled_bnd.shape[1])
        logits: Tensor = head(pooled_bnd.flatten(1))
        return logits

    @torch.no_grad()
    def start_ranking(self) -> None:
        """Begin the ranking from what says that a pair belongs together, to be fine-tuned (Kim et al. 2021,
        sec. 4.4)."""
        matching, ranking = self.there(self.matching, "matching"), self.there(self.ranking, "ranking")
        ranking.weight.copy_(matching.weight[1:])
        ranking.bias.copy_(matching.bias[1:])

    def score(self, pictures: Pictures, texts: Sequence[PreparedPart]) -> Tensor:
        """:meth:`fit` of the n-th picture and the n-th text, float32 ``[n]``; higher is better."""
        self.there(self.ranking if self.ranking is not None else self.matching, "matching or ranking")
        return self._over([pictures], texts, lambda pooled_bnd: self.fit(pooled_bnd[:, 0]), ())

    def answer(
        self, pictures: Pictures, questions: Sequence[PreparedPart], top_k: int = 5
    ) -> list[list[Answer]]:
        """The likeliest answers to the n-th question about the n-th picture, best first."""
        self.there(self.answers, "answers")
        names = self.heads.answers
        logits_nc = self._over(
            [pictures], questions, lambda pooled_bnd: self.answer_logits(pooled_bnd[:, 0]), (len(names),)
        )
        return likeliest(logits_nc.sigmoid(), names, top_k)

    def compare(self, pictures: Sequence[Pictures], texts: Sequence[PreparedPart]) -> Tensor:
        """Probabilities of the verdicts on each text, float32 ``[n, verdicts]``.

        Args:
            pictures: the first of each text, the second of each text, …
        """
        self.there(self.verdicts, "verdicts")
        self._expect_compared(len(pictures))
        shape = (len(self.heads.verdicts),)
        return self._over(pictures, texts, self.verdict_logits, shape).softmax(dim=-1)

    def there(self, head: H | None, name: str) -> H:
        """The head.

        Raises:
            InvalidInput: it is not there.
        """
        if head is None:
            raise InvalidInput(
                f"expected a {self.family} with a head for {name}, got one without",
                f"此 {self.family} 模型没有 {name} 头",
                code="unsupported_task",
            )
        return head

    def _expect_compared(self, got: int) -> None:
        if got != self.heads.compared:
            raise mismatch("pictures for each text", "每段文字的图片", self.heads.compared, got)

    def _over(
        self,
        pictures: Sequence[Pictures],
        texts: Sequence[PreparedPart],
        head: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
    ) -> Tensor:
        device = next(self.parameters()).device
        return over_pairs(
            pictures,
            texts,
            lambda batch: head(self.vectors(batch)),
            shape,
            cell=self.cell,
            padded=self.padded,
            device=device,
        )
