"""ViT (Dosovitskiy et al. 2021) and BERT (Devlin et al. 2019) joined into one Transformer.

Concatenated: patches and tokens, each with an embedding of its type, are one sequence through one stack of
blocks with self-attention only (single-stream, as Kim et al. 2021, fig. 3). Crossed: each side keeps its own
blocks, and in the last of them also looks at the other side's previous layer (two-stream, as Lu et al. 2019,
fig. 2, and Dou et al. 2022, fig. 2).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chiasm.models.bert.model import Bert
from chiasm.models.joined.config import JoinedConfig
from chiasm.models.stems import PictureStem, TextStem, text_block, vision_block
from chiasm.models.traced_pair import PairFlow, TracedPair, VectorHeads, trace_pair
from chiasm.models.vit.model import Vit
from chiasm.nn.blocks import Block, Encoder
from chiasm.nn.relevance import Positions, Step
from chiasm.preprocess.places import Place, patch_places
from chiasm.preprocess.prepared import PreparedPart


class JoinedStates(NamedTuple):
    """States of both sides, ``[b, p, width]`` and ``[b, t, width]``, and where they are real.

    A side that was not given has no positions. ``grid`` is rows and columns of patches.
    """

    picture_bpd: Tensor
    text_btd: Tensor
    mask_bp: Tensor
    mask_bt: Tensor
    grid: tuple[int, int]

    @property
    def states_bsd(self) -> Tensor:
        """All states, in the order of :attr:`places`."""
        return torch.cat([self.picture_bpd, self.text_btd], dim=1)

    @property
    def mask_bs(self) -> Tensor:
        """Where they are real."""
        return torch.cat([self.mask_bp, self.mask_bt], dim=1)

    @property
    def places(self) -> list[Place]:
        """What each position is; rows of recorded attention of the one sequence are in this order, too."""
        rows, columns = self.grid
        patches = patch_places(rows, columns, class_token=self.picture_bpd.shape[1] > rows * columns)
        return [*patches, *(Place("token", n) for n in range(self.text_btd.shape[1]))]

    def vector(self) -> Tensor:
        """``[b, width]``: the mean of the first state of each side that is there (the class tokens)."""
        sides = ((self.picture_bpd, self.mask_bp), (self.text_btd, self.mask_bt))
        first = [(x[:, 0], m.any(dim=1, keepdim=True)) for x, m in sides if x.shape[1]]
        total = torch.stack([x.masked_fill(~there, 0.0) for x, there in first]).sum(dim=0)
        count = torch.stack([there for _, there in first]).sum(dim=0)
        return total / count.clamp(min=1)


class Concatenated(nn.Module):
    """One stack over one sequence."""

    def __init__(self, config: JoinedConfig) -> None:
        super().__init__()
        c = config
        block = vision_block(c.vision) if c.trunk == "vit" else text_block(c.text)
        self.encoder = Encoder(block, c.depth)

    def forward(
        self, picture_bpd: Tensor, text_btd: Tensor, mask_bp: Tensor | None, mask_bt: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Embeddings and masks → states of both sides. A mask of None: all are real."""
        x_bsd = torch.cat([picture_bpd, text_btd], dim=1)
        mask = None
        if mask_bp is not None or mask_bt is not None:
            sides = ((picture_bpd, mask_bp), (text_btd, mask_bt))
            mask = torch.cat([_real(x) if m is None else m for x, m in sides], dim=1)
        x_bsd = self.encoder(x_bsd, mask)
        return x_bsd[:, : picture_bpd.shape[1]], x_bsd[:, picture_bpd.shape[1] :]

    def looks(self, picture: Positions, text: Positions) -> list[list[Step]]:
        """Who looks at whom, block by block."""
        return self.encoder.looks([*picture, *text])


class Crossed(nn.Module):
    """A stack for each side; the last blocks look at the other side's previous layer."""

    def __init__(self, config: JoinedConfig) -> None:
        super().__init__()
        c = config
        self.crossed = c.crossed
        self.vision = Encoder(vision_block(c.vision), c.vision.depth - c.crossed)
        self.text = Encoder(text_block(c.text), c.text.depth - c.crossed)
        across_v, across_t = vision_block(c.vision, c.width), text_block(c.text, c.width)
        self.vision.blocks.extend(Block(across_v) for _ in range(c.crossed))
        self.text.blocks.extend(Block(across_t) for _ in range(c.crossed))

    def forward(
        self, picture_bpd: Tensor, text_btd: Tensor, mask_bp: Tensor | None, mask_bt: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`Concatenated.forward`."""
        p, t, n = picture_bpd, text_btd, self.crossed
        if p.shape[1]:
            for block in self.vision.blocks[:-n]:
                p = block(p, mask_bp)
        if t.shape[1]:
            for block in self.text.blocks[:-n]:
                t = block(t, mask_bt)
        for vision, text in zip(self.vision.blocks[-n:], self.text.blocks[-n:], strict=True):
            seen_p, seen_t = _something(p, mask_bp), _something(t, mask_bt)
            p = vision(p, mask_bp, *seen_t) if p.shape[1] else p
            t = text(t, mask_bt, *seen_p) if t.shape[1] else t
        return self.vision.norm(p), self.text.norm(t)

    def looks(self, picture: Positions, text: Positions) -> list[list[Step]]:
        """Who looks at whom: first each side by itself, then both at once."""
        own_p, own_t = self.vision.looks(picture, text), self.text.looks(text, picture)
        n = self.crossed
        across = [[*p, *t] for p, t in zip(own_p[-n:], own_t[-n:], strict=True)]
        return [*own_p[:-n], *own_t[:-n], *across]


class Joined(nn.Module):
    """Both stems, the types, and either way of joining."""

    def __init__(self, config: JoinedConfig) -> None:
        super().__init__()
        self.config = config
        self.pictures = PictureStem(config.vision)
        self.texts = TextStem(config.text)
        self.type_nd = nn.Parameter(torch.randn(2, config.width) * 0.02)  # of pictures, of texts
        self.trunk = Concatenated(config) if config.joining == "concatenated" else Crossed(config)

    def forward(
        self,
        pixels_bhwc: Tensor | None,
        ids_bt: Tensor | None,
        mask_bt: Tensor | None = None,
        mask_bp: Tensor | None = None,
    ) -> JoinedStates:
        """States of pictures with their texts; one of both may be missing from the whole batch (None) or from
        rows of it (all of its mask False).

        Args:
            pixels_bhwc: uint8. ids_bt: token ids.
            mask_bt: True at real tokens; all are without it.
            mask_bp: the same of the picture's positions, the class token first; ``[b, 1]`` speaks for the
                whole picture.

        Raises:
            ValueError: neither pictures nor texts.
        """
        given = pixels_bhwc if pixels_bhwc is not None else ids_bt
        if given is None:
            raise ValueError("expected pictures, texts or both, got neither")
        empty_bd = self.type_nd.new_zeros((len(given), 0, self.config.width))
        picture_bpd = text_btd = empty_bd
        grid = (0, 0)
        if pixels_bhwc is not None:
            patch = self.config.vision.patch
            grid = (pixels_bhwc.shape[1] // patch, pixels_bhwc.shape[2] // patch)
            picture_bpd = self.pictures(pixels_bhwc) + self.type_nd[0]
        if ids_bt is not None:
            text_btd = self.texts(ids_bt) + self.type_nd[1]
        mask_bp = _fitted(mask_bp, picture_bpd)
        mask_bt = _fitted(mask_bt, text_btd)
        picture_bpd, text_btd = self.trunk(picture_bpd, text_btd, mask_bp, mask_bt)
        real_bp = _real(picture_bpd) if mask_bp is None else mask_bp
        real_bt = _real(text_btd) if mask_bt is None else mask_bt
        return JoinedStates(picture_bpd, text_btd, real_bp, real_bt, grid)

    def picture_places(self, height: int, width: int) -> list[Place]:
        """What the positions are of pictures of so many pixels."""
        return self.pictures.vit.places(height, width)

    def flow(self, p: int, t: int) -> PairFlow:
        """Who looks at whom among so many positions of the picture and then of the text, padding included;
        read are the first of either side, as :meth:`JoinedStates.vector` does."""
        picture, text = range(p), range(p, p + t)
        groups = self.trunk.looks(picture, text)
        return PairFlow(groups=groups, readers=[0, p], count=p + t, picture=picture, text=text)

    def trace_pair(
        self, picture: PreparedPart, text: PreparedPart, heads: VectorHeads | None = None
    ) -> TracedPair:
        """A pair with all that is looked at on its way; ``heads``: logits by name of its vector
        ``[1, width]``."""
        return trace_pair(
            picture,
            text,
            lambda pixels, ids: {} if heads is None else heads(self(pixels, ids).vector()),
            flow=self.flow,
            places=self.picture_places,
            embedding=self.texts.bert.token,
            device=self.type_nd.device,
        )

    @torch.no_grad()
    def start(self, vit: Vit | None = None, bert: Bert | None = None) -> None:
        """Begin from trained weights: stems and blocks of those given; what is new adds nothing at first.

        With ViT's trunk, or crossed, a picture without a text then has the ViT's states; with BERT's trunk a
        text without a picture has the BERT's. Where post-norm blocks look across, their new normalisation
        changes states a little.

        Raises:
            ValueError: the trunk's own model is missing, or one has another shape.
        """
        c = self.config
        if isinstance(self.trunk, Concatenated):
            own = vit if c.trunk == "vit" else bert
            if own is None:
                raise ValueError(f"expected weights of the trunk ({c.trunk}), got only the other's")
            _start_blocks(self.trunk.encoder, own.encoder)
        elif isinstance(self.trunk, Crossed):
            if vit is not None:
                _start_blocks(self.trunk.vision, vit.encoder)
            if bert is not None:
                _start_blocks(self.trunk.text, bert.encoder)
        if vit is not None:
            self.pictures.start(vit)
        if bert is not None:
            self.texts.start(bert)
        self.type_nd.zero_()


def _start_blocks(ours: Encoder, theirs: Encoder) -> None:
    if len(ours.blocks) != len(theirs.blocks):
        raise ValueError(f"expected {len(ours.blocks)} blocks, got {len(theirs.blocks)}")
    missing, _ = ours.load_state_dict(theirs.state_dict(), strict=False)
    strange = [name for name in missing if ".cross" not in name]
    if strange:
        raise ValueError(f"expected weights of every block, got none of {strange}")
    for block in ours.blocks:
        if isinstance(block, Block) and block.cross is not None:
            nn.init.zeros_(block.cross.output.weight)
            nn.init.zeros_(block.cross.output.bias)


def _real(x_bsd: Tensor) -> Tensor:
    return torch.ones(x_bsd.shape[:2], dtype=torch.bool, device=x_bsd.device)


def _fitted(mask: Tensor | None, x_bsd: Tensor) -> Tensor | None:
    return None if mask is None or not x_bsd.shape[1] else mask.expand(x_bsd.shape[:2])


def _something(x_bsd: Tensor, mask_bs: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The same, or one position that is not real: attention needs keys."""
    if x_bsd.shape[1]:
        return x_bsd, mask_bs
    b, _, d = x_bsd.shape
    return x_bsd.new_zeros((b, 1, d)), torch.zeros((b, 1), dtype=torch.bool, device=x_bsd.device)
