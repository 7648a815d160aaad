"""What METER answers (Dou et al. 2022, sec. 3.1, 3.2 and 4): masked words, whether and how well a text and a
picture belong together, questions, sentences about one or two pictures; or, with a decoder, any text.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.models.batching import pad_ids
from chiasm.models.generate import greedy
from chiasm.models.meter.config import MeterConfig, MeterHeadsConfig
from chiasm.models.meter.model import Meter, MeterStates
from chiasm.models.pair_heads import PairHeads
from chiasm.models.pairs import PairBatch, pad_pixels
from chiasm.models.traced_pair import PairFlow, TracedPair, log_odds, trace_pair
from chiasm.models.vilt.heads import Classifier, WordHead
from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.blocks import BlockConfig, FeedForward
from chiasm.nn.cache import KeyValueCache, causal_mask
from chiasm.nn.relevance import Positions, Step, block_steps
from chiasm.preprocess.prepared import PreparedPart


class DecoderBlock(nn.Module):
    """Self-attention, attention across to the fused states, feed-forward: each with a residual and then a
    norm. The keys and values of what is looked across to are computed once."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        c = config
        self.attention = MultiHeadAttention(c.width, c.heads)
        self.attention_norm = nn.LayerNorm(c.width, eps=c.epsilon)
        self.cross = MultiHeadAttention(c.width, c.heads, context_width=c.context_width)
        self.cross_norm = nn.LayerNorm(c.width, eps=c.epsilon)
        self.feed_forward = FeedForward(c.width, c.hidden, c.activation)
        self.feed_forward_norm = nn.LayerNorm(c.width, eps=c.epsilon)

    def forward(
        self,
        x_btd: Tensor,
        states_bsd: Tensor,
        mask: Tensor,
        mask_bs: Tensor | None,
        *,
        own: KeyValueCache | None = None,
        across: KeyValueCache | None = None,
    ) -> Tensor:
        """``mask`` is of the tokens, ``mask_bs`` of the states; ``own`` and ``across`` cache theirs."""
        x_btd = self.attention_norm(x_btd + self.attention(x_btd, mask=mask, cache=own))
        if across is not None and across.length:
            states_bsd = states_bsd[:, :0]  # they are in the cache: none is added
        x_btd = self.cross_norm(x_btd + self.cross(x_btd, states_bsd, mask_bs, across))
        out: Tensor = self.feed_forward_norm(x_btd + self.feed_forward(x_btd))
        return out

    def looks(self, own: Positions, states: Positions) -> list[Step]:
        """Who looks at whom: the tokens, then from them across."""
        return block_steps(self.attention, self.cross, own, states)


class AnswerDecoder(nn.Module):
    """Tokens so far, and all fused states → logits of the next token (Dou et al. 2022, fig. 3)."""

    def __init__(self, config: MeterConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.token = nn.Embedding(c.text.vocabulary, c.width)
        self.position = nn.Embedding(c.text.positions, c.width)
        self.norm = nn.LayerNorm(c.width, eps=c.epsilon)
        block = c.block(across=True)
        self.blocks = nn.ModuleList(DecoderBlock(block) for _ in range(c.decoder_depth))
        self.words = WordHead(c.width, c.text.vocabulary, c.activation, c.epsilon, tied=True)

    def forward(
        self,
        ids_bt: Tensor,
        states_bsd: Tensor,
        mask_bs: Tensor | None = None,
        cache: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """Logits ``[b, t, vocabulary]``.

        Args:
            ids_bt: all tokens, padding on the right; or with a cache those behind it.
            states_bsd: fused states. mask_bs: True where they are real; all are without it.
            cache: one for every layer's tokens, then one for every layer's states; filled on the way.
        """
        t, depth = ids_bt.shape[1], len(self.blocks)
        before = 0 if cache is None else cache[0].length
        if before + t > self.config.text.positions:
            raise ValueError(f"expected at most {self.config.text.positions} tokens, got {before + t}")
        mask = causal_mask(t, before + t, ids_bt.device)[None, None]
        x_btd = self.token(ids_bt) + self.position.weight[before : before + t]
        x_btd = self.norm(x_btd)
        for n, block in enumerate(self.blocks):
            own, across = (None, None) if cache is None else (cache[n], cache[depth + n])
            x_btd = block(x_btd, states_bsd, mask, mask_bs, own=own, across=across)
        logits: Tensor = self.words(x_btd, self.token.weight)
        return logits

    def looks(self, own: Positions, states: Positions) -> list[list[Step]]:
        """Who looks at whom, block by block; tokens behind one get no weight."""
        return [block.looks(own, states) for block in self.blocks if isinstance(block, DecoderBlock)]


class _Speaker:
    """The decoder and what it looks across to, as :func:`chiasm.models.generate.greedy` takes it."""

    def __init__(self, decoder: AnswerDecoder, states: MeterStates) -> None:
        self.decoder, self.states_bsd = decoder, states.states_bsd
        self.mask_bs = None if bool(states.mask_bs.all()) else states.mask_bs

    def new_cache(self, positions: int | None = None) -> list[KeyValueCache]:
        """An empty cache for every layer's tokens, then one for every layer's states."""
        rooms = (positions or self.decoder.config.text.positions, self.states_bsd.shape[1])
        return [KeyValueCache(room) for room in rooms for _ in self.decoder.blocks]

    def __call__(
        self, ids_bt: Tensor, mask_bs: Tensor | None = None, cache: Sequence[KeyValueCache] | None = None
    ) -> Tensor:
        """Logits ``[b, t, vocabulary]``; prompts are of one length, without a mask."""
        logits: Tensor = self.decoder(ids_bt, self.states_bsd, self.mask_bs, cache)
        return logits


class HeadedMeter(PairHeads):
    """The trunk, those heads that there are (see :class:`~chiasm.models.pair_heads.PairHeads`), and a decoder
    if the trunk's kind has one.

    The sides of prepared pictures are multiples of a patch.
    """

    family: ClassVar[str] = "METER"
    padded: ClassVar[bool] = False
    heads: MeterHeadsConfig

    def __init__(self, config: MeterConfig, heads: MeterHeadsConfig) -> None:
        super().__init__()
        c, pair = config, 2 * config.width
        self.config, self.heads = config, heads
        self.meter = Meter(config)
        self.words = (
            WordHead(c.width, c.text.vocabulary, c.activation, c.epsilon, tied=False) if heads.words else None
        )
        self.matching = nn.Linear(pair, 2) if heads.matching else None
        self.ranking = nn.Linear(pair, 1) if heads.ranking else None
        self.answers = Classifier(pair, pair, len(heads.answers)) if heads.answers else None
        self.verdicts = Classifier(2 * pair, pair, len(heads.verdicts)) if heads.verdicts else None
        self.entailment = Classifier(pair, pair, len(heads.entailment)) if heads.entailment else None
        self.decoder = AnswerDecoder(c) if c.kind == "encoder-decoder" else None

    @property
    def cell(self) -> int:
        """Pixels of the side of a patch."""
        return self.config.vision.patch

    @property
    def trunk(self) -> Meter:
        """What reads both sides."""
        return self.meter

    def said(self, pooled_bd: Tensor) -> dict[str, Tensor]:
        """As of :class:`~chiasm.models.pair_heads.PairHeads`, and ``entailment``."""
        found = super().said(pooled_bd)
        if self.entailment is not None:
            found["entailment"] = log_odds(self.entailment_logits(pooled_bd)[0])
        return found

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Of answers, and of what a picture says of a sentence."""
        return {**super().class_names(), "entailment": self.heads.entailment}

    def trace_pair(
        self, picture: PreparedPart, text: PreparedPart, written: PreparedPart | None = None
    ) -> TracedPair:
        """A pair with all that is looked at on its way to what the heads say; where there are none, or
        something ``written`` is asked about, to ``written``, the log-probability of all its tokens.

        Args:
            written: between the token that begins and one that ends; without it, what the model writes itself
                between the first and the last token of the text.

        Raises:
            InvalidInput: no decoder to write.
        """
        heads = (self.matching, self.ranking, self.answers, self.entailment)
        if written is None and any(head is not None for head in heads):
            return super().trace_pair(picture, text)
        decoder, trunk = self.there(self.decoder, "writing"), self.trunk
        device = next(self.parameters()).device
        if written is None:
            written_bt = self._own_words(picture, text, device)
        else:
            written_bt, _ = pad_ids([written], device)
        before_bt, wanted_bt = written_bt[:, :-1], written_bt[:, 1:]

        def compute(pixels_bhwc: Tensor, ids_bt: Tensor) -> dict[str, Tensor]:
            logits_btv = decoder(before_bt, trunk(pixels_bhwc, ids_bt).states_bsd)
            return {"written": -F.cross_entropy(logits_btv[0], wanted_bt[0], reduction="sum")}

        def flow(p: int, t: int) -> PairFlow:
            read = trunk.flow(p, t)
            queries = range(read.count, read.count + before_bt.shape[1])
            groups = [*read.groups, *decoder.looks(queries, range(read.count))]
            return replace(read, groups=groups, readers=queries, count=read.count + len(queries))

        return trace_pair(
            picture,
            text,
            compute,
            flow=flow,
            places=trunk.picture_places,
            embedding=trunk.embedding,
            device=device,
        )

    @torch.no_grad()
    def _own_words(self, picture: PreparedPart, text: PreparedPart, device: torch.device) -> Tensor:
        """What the model writes about a pair, ``[1, t]``, as long as it wants, between begin and end."""
        pixels_bhwc, _ = pad_pixels([picture], device)
        ids_bt, _ = pad_ids([text], device)
        begin, end = int(ids_bt[0, 0]), int(ids_bt[0, -1])
        room = self.config.text.positions - 1
        (tokens,) = self.write(self.meter(pixels_bhwc, ids_bt), begin, ends=[end], most=room)
        return torch.tensor([[begin, *tokens, end]], device=device)

    def vectors(self, batch: PairBatch) -> Tensor:
        """What stands for each text with each of its pictures, ``[b, pictures, 2 width]``."""
        pooled = [
            self.meter.vector(pixels_bhwc, batch.ids_bt, batch.mask_bt, picture=number)
            for number, (pixels_bhwc, _) in enumerate(batch.pictures, 1)
        ]
        return torch.stack(pooled, dim=1)

    def word_logits(self, text_btd: Tensor) -> Tensor:
        """Of the text's fused states: which word each token is, ``[b, t, vocabulary]`` (MLM)."""
        head = self.there(self.words, "words")
        assert head.weight is not None
        logits: Tensor = head(text_btd, head.weight)
        return logits

    def entailment_logits(self, pooled_bd: Tensor) -> Tensor:
        """``[b, entailment]`` (SNLI-VE)."""
        logits: Tensor = self.there(self.entailment, "entailment")(pooled_bd)
        return logits

    def decoder_loss(self, states: MeterStates, ids_bt: Tensor, mask_bt: Tensor | None = None) -> Tensor:
        """Mean cross-entropy of every token after the first, each from those before it and all states.

        Args:
            ids_bt: what is to be written, between the token that begins and one that ends.
            mask_bt: True at real tokens; padding belongs on the right.

        Raises:
            ValueError: no token comes after the first.
        """
        decoder = self.there(self.decoder, "writing")
        wanted_bt = ids_bt[:, 1:]
        real_bt = torch.ones_like(wanted_bt, dtype=torch.bool) if mask_bt is None else mask_bt[:, 1:]
        if not bool(real_bt.any()):
            raise ValueError("expected at least one token after the first, got none")
        logits_btv = decoder(ids_bt[:, :-1], states.states_bsd, states.mask_bs)
        return F.cross_entropy(logits_btv[real_bt], wanted_bt[real_bt])

    def write(self, states: MeterStates, begin: int, *, ends: Sequence[int], most: int) -> list[list[int]]:
        """Tokens of each pair's text, the likeliest each time: at most so many, without the first and the
        last, which are ``begin`` and one of ``ends``.

        Raises:
            ValueError: more tokens than there are positions.
        """
        room = self.config.text.positions
        if not 0 <= most <= room:
            raise ValueError(f"expected at most {room} tokens to write, got {most}")
        speaker = _Speaker(self.there(self.decoder, "writing"), states)
        first_b = torch.full((len(states.text_btd),), begin, device=states.text_btd.device)
        steps = greedy(speaker, first_b[:, None], most, ends=ends)
        written_bt = torch.stack([first_b, *steps], dim=1)[:, 1:]
        return [list(takewhile(lambda token: token not in ends, own)) for own in written_bt.tolist()]

    def generate(
        self,
        states: MeterStates,
        begin: int,
        decode: Callable[[Sequence[int]], str],
        *,
        ends: Sequence[int],
        most: int = 20,
    ) -> list[str]:
        """:meth:`write` as texts; ``decode`` is the tokeniser's, from ids to a text."""
        return [decode(tokens) for tokens in self.write(states, begin, ends=ends, most=most)]
