"""ViLT (Kim et al. 2021, fig. 3): one pre-norm Transformer over [text; class token; patches].

Words come as embeddings, patches through one linear map; each gets an embedding of its type added. What is
said of both is the first state through a linear map and a tanh. Pictures keep their proportions: each has a
grid of its own, to which the learnt positions are resized.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from chiasm.models.stems import PictureStem, TextStem, vision_block
from chiasm.models.traced_pair import PairFlow
from chiasm.models.vilt.config import ViltConfig
from chiasm.models.vit.config import VitConfig
from chiasm.nn.blocks import Encoder
from chiasm.nn.positions import interpolate_grid
from chiasm.preprocess.places import Place, patch_places

Grid = tuple[int, int]
"""Rows and columns of patches."""


class PictureTokens(NamedTuple):
    """Embeddings of the class token and of each picture's patches row by row, ``[b, p, width]``.

    Attributes:
        mask_bp: True where they are real; None: all are.
        grids: of each picture.
        kept: the numbers of the patches that were kept; None: all were.
    """

    x_bpd: Tensor
    mask_bp: Tensor | None
    grids: tuple[Grid, ...]
    kept: tuple[Tensor | None, ...]


class ViltStates(NamedTuple):
    """States of both sides, ``[b, t, width]`` and ``[b, p, width]``, and where they are real.

    The picture's side is the class token and patches row by row; a side that was not given has no positions.
    """

    text_btd: Tensor
    picture_bpd: Tensor
    mask_bt: Tensor
    mask_bp: Tensor
    grids: tuple[Grid, ...]
    kept: tuple[Tensor | None, ...]

    @property
    def states_bsd(self) -> Tensor:
        """All states in the order of :meth:`places`."""
        return torch.cat([self.text_btd, self.picture_bpd], dim=1)

    @property
    def mask_bs(self) -> Tensor:
        """Where they are real."""
        return torch.cat([self.mask_bt, self.mask_bp], dim=1)

    def places(self, row: int) -> list[Place]:
        """What the positions of one pair are; of recorded attention, too. Those after its last patch pad."""
        tokens = [Place("token", n) for n in range(self.text_btd.shape[1])]
        if not self.picture_bpd.shape[1]:
            return tokens
        first, *patches = patch_places(*self.grids[row], class_token=True)
        kept = self.kept[row]
        return [*tokens, first, *(patches if kept is None else [patches[n] for n in kept.tolist()])]


class SizedPictures(nn.Module):
    """Class token, patches and positions of pictures of any size."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.vit = PictureStem(config).vit

    def forward(
        self,
        pixels_bhwc: Tensor,
        sizes: Sequence[Grid] | None = None,
        most: int = 0,
        generator: torch.Generator | None = None,
    ) -> PictureTokens:
        """Arguments and errors as of :class:`Vilt`; ``most`` patches of a picture, all if 0."""
        assert self.vit.class_token is not None
        grids, patch = self._grids(pixels_bhwc, sizes), self.vit.config.patch
        whole = (pixels_bhwc.shape[1] // patch, pixels_bhwc.shape[2] // patch)
        x_bpd = self.vit.stem(self.vit.normalise(pixels_bhwc))
        first_bpd = (self.vit.class_token + self.vit.position[0]).expand(len(x_bpd), 1, -1)
        positions = {grid: self.positions(grid) for grid in set(grids)}
        if set(grids) == {whole} and not 0 < most < x_bpd.shape[1]:
            x_bpd = torch.cat([first_bpd, x_bpd + positions[whole]], dim=1)
            return PictureTokens(x_bpd, None, grids, (None,) * len(grids))
        kept = tuple(_kept(rows * columns, most, generator) for rows, columns in grids)
        pictures = []
        for x_pd, grid, chosen in zip(x_bpd, grids, kept, strict=True):
            own_pd = x_pd.view(*whole, -1)[: grid[0], : grid[1]].flatten(0, 1)
            own_pd = own_pd + positions[grid]
            pictures.append(own_pd if chosen is None else own_pd[chosen.to(own_pd.device)])
        # a picture that is not there has no class token either
        counts_b = torch.tensor(
            [len(own) + 1 if grid[0] else 0 for own, grid in zip(pictures, grids, strict=True)]
        )
        x_bpd = torch.cat([first_bpd, pad_sequence(pictures, batch_first=True)], dim=1)
        mask_bp = torch.arange(x_bpd.shape[1]) < counts_b[:, None]
        return PictureTokens(x_bpd, mask_bp.to(x_bpd.device), grids, kept)

    def positions(self, grid: Grid) -> Tensor:
        """Of the patches of a grid, ``[rows x columns, width]``: corners stay corners."""
        if not grid[0]:
            return self.vit.position[:0]
        old = (self.vit.config.grid, self.vit.config.grid)
        return interpolate_grid(self.vit.position[1:], old, grid, mode="bilinear", align_corners=True)

    def _grids(self, pixels_bhwc: Tensor, sizes: Sequence[Grid] | None) -> tuple[Grid, ...]:
        b, height, width, _ = pixels_bhwc.shape
        patch = self.vit.config.patch
        sizes = [(height, width)] * b if sizes is None else sizes
        if len(sizes) != b:
            raise ValueError(f"expected a size for each of {b} pictures, got {len(sizes)}")
        for size in {(height, width), *sizes}:
            fits = 0 < size[0] <= height and 0 < size[1] <= width and not (size[0] % patch or size[1] % patch)
            if not fits and size != (0, 0):
                raise ValueError(
                    f"expected sides that are multiples of {patch} pixels, at most {height} x {width}, "
                    f"got {size[0]} x {size[1]}"
                )
        return tuple((h // patch, w // patch) for h, w in sizes)


class Pooler(nn.Module):
    """The first state through a linear map and a tanh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, first_bd: Tensor) -> Tensor:
        """``[b, width]`` → ``[b, width]``."""
        return torch.tanh(self.dense(first_bd))


class Vilt(nn.Module):
    """Both stems, the types, the trunk and the pooler.

    Arguments of its calls:
        ids_bt: token ids. mask_bt: True at real tokens; all are without it.
        pixels_bhwc: uint8; pictures of different sizes lie in the upper left corner.
        sizes: pixels (height, width) of each picture; of all of them those of the tensor without. A row
            without a picture has (0, 0), one without a text a mask that is False.
        picture: which type the picture is of: 1, or 2 for the second of two.
        generator: which patches are kept where there are too many; evenly spread ones without it.

    Raises:
        ValueError: neither texts nor pictures, more tokens than there are positions, sides that are no
            multiples of a patch, a type that is not there.
    """

    def __init__(self, config: ViltConfig) -> None:
        super().__init__()
        self.config = config
        self.texts = TextStem(config.text)
        self.pictures = SizedPictures(config.vision)
        self.type_nd = nn.Parameter(torch.randn(config.types, config.width) * 0.02)
        self.encoder = Encoder(vision_block(config.vision), config.vision.depth)
        self.pooler = Pooler(config.width)

    def forward(
        self,
        ids_bt: Tensor | None,
        pixels_bhwc: Tensor | None,
        mask_bt: Tensor | None = None,
        sizes: Sequence[Grid] | None = None,
        *,
        picture: int = 1,
        generator: torch.Generator | None = None,
    ) -> ViltStates:
        """All states. In ``mask_bt`` and the answer, the b-th text and picture are a pair."""
        text_btd, tokens = self._embedded(ids_bt, pixels_bhwc, sizes, picture, generator)
        x_bsd = torch.cat([text_btd, tokens.x_bpd], dim=1)
        x_bsd = self.encoder(x_bsd, _joined(text_btd, mask_bt, tokens))
        t = text_btd.shape[1]
        text_btd, picture_bpd = x_bsd[:, :t], x_bsd[:, t:]
        return ViltStates(
            text_btd,
            picture_bpd,
            _real(text_btd) if mask_bt is None else mask_bt,
            _real(picture_bpd) if tokens.mask_bp is None else tokens.mask_bp,
            tokens.grids,
            tokens.kept,
        )

    def pooled(self, states: ViltStates) -> Tensor:
        """What stands for a pair, ``[b, width]``: its first token, or the class token without a text."""
        side = states.text_btd if states.text_btd.shape[1] else states.picture_bpd
        pooled_bd: Tensor = self.pooler(side[:, 0])
        return pooled_bd

    def vector(
        self,
        ids_bt: Tensor | None,
        pixels_bhwc: Tensor | None,
        mask_bt: Tensor | None = None,
        sizes: Sequence[Grid] | None = None,
        *,
        picture: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """:meth:`pooled` of :meth:`forward`, sooner: the last block computes nothing else."""
        text_btd, tokens = self._embedded(ids_bt, pixels_bhwc, sizes, picture, generator)
        mask_bs = _joined(text_btd, mask_bt, tokens)
        x_bsd = torch.cat([text_btd, tokens.x_bpd], dim=1)
        first_b = torch.zeros(len(x_bsd), dtype=torch.long, device=x_bsd.device)
        pooled_bd: Tensor = self.pooler(self.encoder.at(x_bsd, first_b, mask_bs, last_mask=mask_bs))
        return pooled_bd

    @property
    def embedding(self) -> nn.Module:
        """What looks tokens up."""
        return self.texts.bert.token

    def picture_places(self, height: int, width: int) -> list[Place]:
        """What the positions are of a picture of so many pixels; of one with too many patches, those that are
        kept without a generator."""
        patch = self.config.vision.patch
        first, *patches = patch_places(height // patch, width // patch, class_token=True)
        kept = _kept(len(patches), self.config.most_patches, None)
        return [first, *(patches if kept is None else [patches[n] for n in kept.tolist()])]

    def flow(self, p: int, t: int) -> PairFlow:
        """Who looks at whom among so many positions of the text and then of the picture, padding included;
        the first token is read."""
        picture, text = range(t, t + p), range(t)
        groups = self.encoder.looks(range(t + p))
        return PairFlow(groups=groups, readers=[0], count=t + p, picture=picture, text=text)

    def _embedded(
        self,
        ids_bt: Tensor | None,
        pixels_bhwc: Tensor | None,
        sizes: Sequence[Grid] | None,
        picture: int,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, PictureTokens]:
        given = ids_bt if ids_bt is not None else pixels_bhwc
        if given is None:
            raise ValueError("expected texts, pictures or both, got neither")
        if not 1 <= picture < self.config.types:
            raise ValueError(f"expected a picture of type 1 to {self.config.types - 1}, got {picture}")
        nothing_bsd = self.type_nd.new_zeros((len(given), 0, self.config.width))
        text_btd, tokens = nothing_bsd, PictureTokens(nothing_bsd, None, (), ())
        if ids_bt is not None:
            text_btd = self.texts(ids_bt) + self.type_nd[0]
        if pixels_bhwc is not None:
            tokens = self.pictures(pixels_bhwc, sizes, self.config.most_patches, generator)
            tokens = tokens._replace(x_bpd=tokens.x_bpd + self.type_nd[picture])
        return text_btd, tokens


def _kept(count: int, most: int, generator: torch.Generator | None) -> Tensor | None:
    """Which of so many patches are kept, in order."""
    if not 0 < most < count:
        return None
    if generator is None:
        return torch.arange(most) * count // most
    chosen = torch.randperm(count, generator=generator, device=generator.device)[:most]
    return chosen.sort().values.cpu()


def _joined(text_btd: Tensor, mask_bt: Tensor | None, tokens: PictureTokens) -> Tensor | None:
    """The mask of the whole sequence; None: all is real."""
    if mask_bt is None and tokens.mask_bp is None:
        return None
    sides = ((text_btd, mask_bt), (tokens.x_bpd, tokens.mask_bp))
    return torch.cat([_real(x) if mask is None else mask for x, mask in sides], dim=1)


def _real(x_bsd: Tensor) -> Tensor:
    return torch.ones(x_bsd.shape[:2], dtype=torch.bool, device=x_bsd.device)
