"""METER (Dou et al. 2022, fig. 1 and 2): a ViT and a RoBERTa, then blocks that fuse what they say.

Either side's states are mapped to the common width and get an embedding of their type. Co-attention: blocks
of their own for both sides, each looking at its own states and then at the other side's of the layer before.
Merged attention: one stack of blocks over [text; class token; patches]. Each side's first state, through a
linear map and a tanh, stands for it; both together stand for the pair.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chiasm.models.bert.model import Bert
from chiasm.models.meter.config import MeterConfig
from chiasm.models.traced_pair import PairFlow
from chiasm.models.vilt.model import Pooler
from chiasm.models.vit.model import Vit
from chiasm.nn.blocks import Block
from chiasm.nn.recorder import active_recorder
from chiasm.nn.relevance import Positions, Step
from chiasm.preprocess.places import Place, patch_places

Masks = tuple[Tensor | None, Tensor | None]
"""Where the text and the picture are real, ``[b, t]`` and ``[b, p]``; None: everywhere."""


class MeterStates(NamedTuple):
    """Fused states of both sides, ``[b, t, width]`` and ``[b, p, width]``, and where they are real.

    The picture's side is the class token and patches row by row; a side that was not given has no positions.
    ``grid`` is rows and columns of patches.
    """

    text_btd: Tensor
    picture_bpd: Tensor
    mask_bt: Tensor
    mask_bp: Tensor
    grid: tuple[int, int]

    @property
    def states_bsd(self) -> Tensor:
        """All states, in the order of :attr:`places`."""
        return torch.cat([self.text_btd, self.picture_bpd], dim=1)

    @property
    def mask_bs(self) -> Tensor:
        """Where they are real."""
        return torch.cat([self.mask_bt, self.mask_bp], dim=1)

    @property
    def places(self) -> list[Place]:
        """What each position is; of recorded attention, too: of merged attention all of them, of co-attention
        those of the side that looks, and of the side that is looked at."""
        tokens = [Place("token", n) for n in range(self.text_btd.shape[1])]
        if not self.picture_bpd.shape[1]:
            return tokens
        return [*tokens, *patch_places(*self.grid, class_token=True)]


class CoAttention(nn.Module):
    """A stack for each side; a block looks at its own side, then at the other's layer before (fig. 2)."""

    def __init__(self, config: MeterConfig) -> None:
        super().__init__()
        block = config.block(across=True)
        self.text = nn.ModuleList(Block(block) for _ in range(config.depth))
        self.picture = nn.ModuleList(Block(block) for _ in range(config.depth))

    def forward(
        self,
        text_btd: Tensor,
        picture_bpd: Tensor,
        mask_bt: Tensor | None = None,
        mask_bp: Tensor | None = None,
        *,
        first: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Embeddings and masks → states of both sides. A mask of None: all are real.

        Args:
            first: only the first state of either side is wanted; the last blocks compute no other.
        """
        t, p = text_btd, picture_bpd
        for n, (text, picture) in enumerate(zip(self.text, self.picture, strict=True), 1):
            at = (0,) if first and n == len(self.text) else None
            seen_t, seen_p = _something(t, mask_bt), _something(p, mask_bp)
            t, p = _through(text, t, mask_bt, *seen_p, at=at), _through(picture, p, mask_bp, *seen_t, at=at)
        return t, p

    def looks(self, text: Positions, picture: Positions) -> list[list[Step]]:
        """Who looks at whom: both sides at once, layer by layer."""
        return [
            [*own_t.looks(text, picture), *own_p.looks(picture, text)]
            for own_t, own_p in zip(self.text, self.picture, strict=True)
            if isinstance(own_t, Block) and isinstance(own_p, Block)
        ]


class MergedAttention(nn.Module):
    """One stack over one sequence, the text first (fig. 2)."""

    def __init__(self, config: MeterConfig) -> None:
        super().__init__()
        block = config.block(across=False)
        self.blocks = nn.ModuleList(Block(block) for _ in range(config.depth))

    def forward(
        self,
        text_btd: Tensor,
        picture_bpd: Tensor,
        mask_bt: Tensor | None = None,
        mask_bp: Tensor | None = None,
        *,
        first: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`CoAttention.forward`."""
        t, p = text_btd.shape[1], picture_bpd.shape[1]
        mask = None
        if mask_bt is not None or mask_bp is not None:
            sides = ((text_btd, mask_bt), (picture_bpd, mask_bp))
            mask = torch.cat([_real(x) if m is None else m for x, m in sides], dim=1)
        x_bsd = torch.cat([text_btd, picture_bpd], dim=1)
        beginnings = [start for start, count in ((0, t), (t, p)) if count]
        for n, block in enumerate(self.blocks, 1):
            at = beginnings if first and n == len(self.blocks) else None
            x_bsd = _through(block, x_bsd, mask, at=at)
        end = min(t, 1) if first else t
        return x_bsd[:, :end], x_bsd[:, end:]

    def looks(self, text: Positions, picture: Positions) -> list[list[Step]]:
        """Who looks at whom, block by block."""
        return [block.looks([*text, *picture]) for block in self.blocks if isinstance(block, Block)]


class Meter(nn.Module):
    """Both encoders, the maps to the common width, the types, what fuses, and the poolers.

    Arguments of its calls; one of both sides may be missing from the whole batch (None) or from rows of it
    (all of its mask False):
        pixels_bhwc: uint8. ids_bt: token ids.
        mask_bt: True at real tokens; all are without it.
        mask_bp: True where the picture's states may be seen, the class token first; ``[b, 1]`` speaks for the
            whole picture.
        picture: which type the picture is of: 1, or 2 for the second of two.

    Raises:
        ValueError: neither pictures nor texts, more tokens than there are positions, arguments that do not
            fit each other, a type that is not there.
    """

    def __init__(self, config: MeterConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.vision = Vit(c.vision)
        self.text = Bert(c.text)
        self.picture_map = nn.Linear(c.vision.width, c.width)
        self.text_map = nn.Linear(c.text.width, c.width)
        self.type_nd = nn.Parameter(torch.randn(c.types, c.width) * 0.02)
        self.fusion = CoAttention(c) if c.fusion == "co" else MergedAttention(c)
        self.text_pooler = Pooler(c.width)
        self.picture_pooler = Pooler(c.width)

    def forward(
        self,
        pixels_bhwc: Tensor | None,
        ids_bt: Tensor | None,
        mask_bt: Tensor | None = None,
        mask_bp: Tensor | None = None,
        *,
        picture: int = 1,
    ) -> MeterStates:
        """All states. The b-th picture and text are a pair."""
        sides, masks = self._embedded(pixels_bhwc, ids_bt, mask_bt, mask_bp, picture)
        text_btd, picture_bpd = self.fusion(*sides, *masks)
        mask_bt, mask_bp = (_real(x) if m is None else m for x, m in zip(sides, masks, strict=True))
        patch, grid = self.config.vision.patch, (0, 0)
        if pixels_bhwc is not None:
            grid = (pixels_bhwc.shape[1] // patch, pixels_bhwc.shape[2] // patch)
        return MeterStates(text_btd, picture_bpd, mask_bt, mask_bp, grid)

    def pooled(self, states: MeterStates) -> Tensor:
        """What stands for a pair, ``[b, 2 width]``: the text, then the picture; zeros for what is missing."""
        return self._pooled((states.text_btd, states.picture_bpd), (states.mask_bt, states.mask_bp))

    def vector(
        self,
        pixels_bhwc: Tensor | None,
        ids_bt: Tensor | None,
        mask_bt: Tensor | None = None,
        mask_bp: Tensor | None = None,
        *,
        picture: int = 1,
    ) -> Tensor:
        """:meth:`pooled` of :meth:`forward`, sooner: the last blocks compute nothing else."""
        sides, masks = self._embedded(pixels_bhwc, ids_bt, mask_bt, mask_bp, picture)
        whole = active_recorder() is not None  # whoever looks wants to see all of them
        return self._pooled(self.fusion(*sides, *masks, first=not whole), masks)

    @property
    def embedding(self) -> nn.Module:
        """What looks tokens up."""
        return self.text.token

    def picture_places(self, height: int, width: int) -> list[Place]:
        """What the positions are of pictures of so many pixels."""
        return self.vision.places(height, width)

    def flow(self, p: int, t: int) -> PairFlow:
        """Who looks at whom among so many positions of the text and then of the picture, padding included:
        each encoder by itself, then what fuses; read are the first of either side."""
        text, picture = range(t), range(t, t + p)
        groups = [
            *self.text.encoder.looks(text),
            *self.vision.encoder.looks(picture),
            *self.fusion.looks(text, picture),
        ]
        return PairFlow(groups=groups, readers=[0, t], count=t + p, picture=picture, text=text)

    @torch.no_grad()
    def start(self, vit: Vit | None = None, bert: Bert | None = None) -> None:
        """Begin from trained encoders, as the paper does; of a deeper ViT the first blocks are taken.

        Raises:
            ValueError: one has another shape.
        """
        if vit is not None:
            wanted = self.vision.state_dict()
            _load(self.vision, {name: x for name, x in vit.state_dict().items() if name in wanted})
        if bert is not None:
            _load(self.text, bert.state_dict())

    def _pooled(self, sides: tuple[Tensor, Tensor], masks: Masks) -> Tensor:
        halves = []
        for x_bsd, mask, pooler in zip(sides, masks, (self.text_pooler, self.picture_pooler), strict=True):
            if not x_bsd.shape[1]:
                halves.append(x_bsd.new_zeros((len(x_bsd), self.config.width)))
                continue
            half_bd: Tensor = pooler(x_bsd[:, 0])
            if mask is not None:
                half_bd = half_bd.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)
            halves.append(half_bd)
        return torch.cat(halves, dim=-1)

    def _embedded(
        self,
        pixels_bhwc: Tensor | None,
        ids_bt: Tensor | None,
        mask_bt: Tensor | None,
        mask_bp: Tensor | None,
        picture: int,
    ) -> tuple[tuple[Tensor, Tensor], Masks]:
        """What is fused: the text's and the picture's side, and where they are real."""
        given = ids_bt if ids_bt is not None else pixels_bhwc
        if given is None:
            raise ValueError("expected pictures, texts or both, got neither")
        if not 1 <= picture < self.config.types:
            raise ValueError(f"expected a picture of type 1 to {self.config.types - 1}, got {picture}")
        text_btd = picture_bpd = self.type_nd.new_zeros((len(given), 0, self.config.width))
        if ids_bt is not None:
            _fits("ids", "[b, t]", ids_bt, ids_bt.dim() == 2)
            mask_bt = _fitted("mask of tokens", mask_bt, ids_bt.shape)
            everywhere = torch.ones_like(ids_bt, dtype=torch.bool)
            read_btd = self.text(ids_bt, everywhere if mask_bt is None else mask_bt)
            text_btd = self.text_map(read_btd) + self.type_nd[0]
        if pixels_bhwc is not None:
            wanted, patch = f"[{len(given)}, h, w, 3], sides of whole patches", self.config.vision.patch
            fits = pixels_bhwc.dim() == 4 and (len(pixels_bhwc), pixels_bhwc.shape[-1]) == (len(given), 3)
            fits = fits and all(n and n % patch == 0 for n in pixels_bhwc.shape[1:3])
            _fits("pixels", wanted, pixels_bhwc, fits)
            picture_bpd = self.picture_map(self.vision(pixels_bhwc)[1]) + self.type_nd[picture]
            mask_bp = _fitted("mask of the picture", mask_bp, picture_bpd.shape[:2], alone=True)
        masks = (mask_bt if text_btd.shape[1] else None, mask_bp if picture_bpd.shape[1] else None)
        return (text_btd, picture_bpd), masks


def _through(
    block: nn.Module,
    x_bsd: Tensor,
    mask: Tensor | None,
    context: Tensor | None = None,
    context_mask: Tensor | None = None,
    *,
    at: Sequence[int] | None,
) -> Tensor:
    """What a post-norm block makes of a sequence; ``at``: of these positions alone."""
    assert isinstance(block, Block)
    if at is None or not x_bsd.shape[1]:
        out: Tensor = block(x_bsd, mask, context, context_mask) if x_bsd.shape[1] else x_bsd
        return out
    own_bqd = x_bsd[:, at]
    own_bqd = block.attention_norm(own_bqd + block.attention(own_bqd, x_bsd, mask))
    if block.cross is not None:
        own_bqd = block.cross_norm(own_bqd + block.cross(own_bqd, context, context_mask))
    out = block.feed_forward_norm(own_bqd + block.feed_forward(own_bqd))
    return out


def _something(x_bsd: Tensor, mask_bs: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The same, or one position that is not real: attention needs keys."""
    if x_bsd.shape[1]:
        return x_bsd, mask_bs
    b, _, d = x_bsd.shape
    return x_bsd.new_zeros((b, 1, d)), torch.zeros((b, 1), dtype=torch.bool, device=x_bsd.device)


def _real(x_bsd: Tensor) -> Tensor:
    return torch.ones(x_bsd.shape[:2], dtype=torch.bool, device=x_bsd.device)


def _fitted(name: str, mask: Tensor | None, shape: torch.Size, *, alone: bool = False) -> Tensor | None:
    """The mask in that shape; ``alone``: one column may speak for all."""
    if mask is None:
        return None
    b, s = shape
    wanted = f"bool [{b}, {s}]" + (f" or [{b}, 1]" if alone else "")
    fits = mask.shape == shape or (alone and tuple(mask.shape) == (b, 1))
    _fits(name, wanted, mask, mask.dtype == torch.bool and fits)
    return mask.expand(b, s)


def _fits(name: str, wanted: str, given: Tensor, fits: bool) -> None:
    if not fits:
        raise ValueError(f"expected {name} of shape {wanted}, got {given.dtype} {list(given.shape)}")


def _load(ours: nn.Module, theirs: dict[str, Tensor]) -> None:
    try:
        ours.load_state_dict(theirs)
    except RuntimeError as error:
        raise ValueError(f"expected weights of the same shape, got: {error}") from error
