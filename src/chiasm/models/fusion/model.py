"""Any two or more encoders and one fusion: early, late or hierarchical (Baltrušaitis et al. 2019, sec. 6)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chiasm.models.fusion.config import FusionConfig
from chiasm.models.fusion.encoders import (
    PictureLayers,
    TellsLayers,
    TellsLooks,
    TextLayers,
    Values,
    make_encoder,
)
from chiasm.models.traced_pair import PairFlow, TracedPair, VectorHeads, trace_pair
from chiasm.nn.blocks import Block, Encoder
from chiasm.nn.fusion import Adapter, Bridged, StandIn, make_combination
from chiasm.nn.pooling import FirstPool, MeanPool
from chiasm.nn.relevance import Flow, Positions, Step
from chiasm.preprocess.prepared import PreparedPart


class Given(NamedTuple):
    """Input of one modality.

    ``values``: token ids, pixels, or states, as its encoder takes them. ``mask``: where they are real, of
    positions ``[b, t]`` or of whole rows ``[b]``; all are without it.
    """

    values: Values
    mask: Tensor | None = None


class Fused(NamedTuple):
    """What a fusion returns.

    ``vector_bd`` stands for all modalities together. ``states_bsd`` and ``mask_bs`` are the fused sequence,
    and ``spans`` says which positions are of which modality (early) or ``fused``; late fusion has none.
    """

    vector_bd: Tensor
    states_bsd: Tensor
    mask_bs: Tensor
    spans: Mapping[str, slice]


class Side(NamedTuple):
    """One modality, encoded: its states after every block, and where they are real."""

    layers: list[Tensor]
    mask_bt: Tensor


class SideLooks(NamedTuple):
    """Positions of one modality, and who looks at whom in its encoder, block by block."""

    positions: Positions
    groups: list[list[Step]]


class EarlyFusion(nn.Module):
    """Local blocks if so configured, then one sequence through a common trunk, behind a token of its own."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        c = config
        self.names = [side.name for side in c.sides]
        self.adapters = nn.ModuleList(Adapter(side.encoder.width, c.width) for side in c.sides)
        self.locals = nn.ModuleList(
            Encoder(c.block, c.local_depth) if c.local_depth else nn.Identity() for _ in c.sides
        )
        self.summary = nn.Parameter(torch.randn(c.width) * 0.02)
        self.stand_in = StandIn(len(c.sides), c.width) if c.missing == "vector" else None
        self.trunk = Encoder(c.block, c.depth)

    def forward(self, sides: list[Side]) -> Fused:
        """Encoded modalities, in the order of the configuration."""
        b = len(sides[0].mask_bt)
        states = [self.summary.expand(b, 1, -1)]
        masks = [torch.ones((b, 1), dtype=torch.bool, device=self.summary.device)]
        spans, end = {}, 1
        for n, (side, adapter, local) in enumerate(zip(sides, self.adapters, self.locals, strict=True)):
            x, mask = adapter(side.layers[-1]), side.mask_bt
            x = local(x, mask) if isinstance(local, Encoder) else x
            spans[self.names[n]] = slice(end, end + x.shape[1])
            if self.stand_in is not None:
                x, mask = self.stand_in.sequence(n, x, mask)
            states.append(x)
            masks.append(mask)
            end += x.shape[1]
        mask_bs = torch.cat(masks, dim=1)
        out_bsd = self.trunk(torch.cat(states, dim=1), mask_bs)
        return Fused(out_bsd[:, 0], out_bsd, mask_bs, {"fused": slice(0, 1), **spans})

    def flow(self, sides: list[SideLooks], count: int) -> Flow:
        """Who looks at whom; behind the ``count`` positions of the modalities comes the token of its own,
        which is read, then what stands in for each."""
        groups, sequence, summary = [], [count], count
        for n, (side, local) in enumerate(zip(sides, self.locals, strict=True), 1):
            groups += [*side.groups, *(local.looks(side.positions) if isinstance(local, Encoder) else [])]
            sequence += [*side.positions, *([] if self.stand_in is None else [summary + n])]
        count = 1 + max(sequence)
        return Flow(groups=[*groups, *self.trunk.looks(sequence)], readers=[summary], count=count)


class LateFusion(nn.Module):
    """Each modality by itself down to one vector; then a combination of the vectors."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        c = config
        self.pools = nn.ModuleList(FirstPool() if side.pooling == "first" else MeanPool() for side in c.sides)
        self.adapters = nn.ModuleList(Adapter(side.encoder.width, c.width) for side in c.sides)
        self.stand_in = StandIn(len(c.sides), c.width) if c.missing == "vector" else None
        self.combine = make_combination(c.combining, len(c.sides), c.width, rank=c.rank, hidden=c.hidden)
        self.norm = nn.LayerNorm(c.width)

    def forward(self, sides: list[Side]) -> Fused:
        """Encoded modalities, in the order of the configuration."""
        vectors = [
            adapter(pool(side.layers[-1], side.mask_bt))
            for side, adapter, pool in zip(sides, self.adapters, self.pools, strict=True)
        ]
        x_bmd = torch.stack(vectors, dim=1)
        present_bm = torch.stack([side.mask_bt.any(dim=1) for side in sides], dim=1)
        if self.stand_in is not None:
            x_bmd, present_bm = self.stand_in.vectors(x_bmd, present_bm)
        vector_bd = self.norm(self.combine(x_bmd, present_bm))
        return Fused(vector_bd, x_bmd[:, :0], present_bm[:, :0], {})

    def flow(self, sides: list[SideLooks], count: int) -> Flow:
        """Who looks at whom; behind the ``count`` positions of the modalities come their means. Read are the
        means, or the first positions; how the vectors are combined is no attention."""
        groups, readers = [], []
        for side, pool in zip(sides, self.pools, strict=True):
            groups += side.groups
            if isinstance(pool, MeanPool):
                groups.append([Step(pool, [count], side.positions)])
                readers.append(count)
                count += 1
            else:
                readers.append(side.positions[0])
        return Flow(groups=groups, readers=readers, count=count)


class HierarchicalFusion(nn.Module):
    """Bridges from several layers of each encoder into learnt queries; the vector is their mean."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        c = config
        self.chosen = [c.layers_of(side) for side in c.sides]
        sources = tuple(side.encoder.width for side in c.sides)
        self.stand_in = StandIn(len(c.sides), c.width) if c.missing == "vector" else None
        self.stream = Bridged(c.block, sources, c.depth, c.queries)

    def forward(self, sides: list[Side]) -> Fused:
        """Encoded modalities, in the order of the configuration."""
        by_block = zip(*self.chosen, strict=True)
        layers = [[s.layers[n - 1] for s, n in zip(sides, ns, strict=True)] for ns in by_block]
        states_bqd = self.stream(layers, [side.mask_bt for side in sides], self.stand_in)
        mask_bq = torch.ones(states_bqd.shape[:2], dtype=torch.bool, device=states_bqd.device)
        return Fused(states_bqd.mean(dim=1), states_bqd, mask_bq, {"fused": slice(0, states_bqd.shape[1])})

    def flow(self, sides: list[SideLooks], count: int) -> Flow:
        """Who looks at whom; behind the ``count`` positions of the modalities comes what stands in for each,
        then the queries, all of which are read.

        A bridge is taken to see what all blocks of the encoder so far have taken up: where ``layers`` fall
        from one bridge to the next, what deeper ones did counts, too.
        """
        context: list[int] = []
        for side in sides:
            context += side.positions
            if self.stand_in is not None:
                context.append(count)
                count += 1
        queries = range(count, count + len(self.stream.query_nd))
        groups: list[list[Step]] = []
        done = [0] * len(sides)
        for block, layers in zip(self.stream.blocks, zip(*self.chosen, strict=True), strict=True):
            for n, (side, layer) in enumerate(zip(sides, layers, strict=True)):
                groups += side.groups[done[n] : layer]
                done[n] = max(done[n], layer)
            assert isinstance(block, Block)
            groups.append(block.looks(queries, context))
        return Flow(groups=groups, readers=queries, count=count + len(queries))


_FUSIONS = {"early": EarlyFusion, "late": LateFusion, "hierarchical": HierarchicalFusion}


class FusionModel(nn.Module):
    """The encoders by name, and the fusion over them.

    Args:
        encoders: modules that tell their layers, in place of those that the configuration describes; their
            shapes are still the configuration's.
    """

    def __init__(self, config: FusionConfig, encoders: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.config = config
        own = encoders or {}
        self.encoders = nn.ModuleDict(
            {side.name: own.get(side.name) or make_encoder(side.encoder) for side in config.sides}
        )
        self.fusion = _FUSIONS[config.kind](config)

    def forward(self, inputs: Mapping[str, Given]) -> Fused:
        """One row of each modality makes one fused row; in any order, and modalities may be left out.

        Raises:
            ValueError: an unknown modality, none at all, or different numbers of rows.
        """
        known = [side.name for side in self.config.sides]
        strange = sorted(inputs.keys() - set(known))
        if strange or not inputs:
            raise ValueError(f"expected some of {known}, got {strange or 'nothing'}")
        rows = {name: len(_states(given.values)) for name, given in inputs.items()}
        if len(set(rows.values())) > 1:
            raise ValueError(f"expected as many rows of each modality, got {rows}")
        b = next(iter(rows.values()))
        fused: Fused = self.fusion(
            [self._encode(n, inputs.get(s.name), b) for n, s in enumerate(self.config.sides)]
        )
        return fused

    def flow(self, counts: Mapping[str, int]) -> Flow:
        """Who looks at whom among so many positions of every modality, padding included; they are numbered
        through in the order of the configuration, and what the fusion adds comes behind them."""
        sides, count = [], 0
        for side in self.config.sides:
            positions = range(count, count + counts[side.name])
            encoder = self.encoders[side.name]
            sides.append(
                SideLooks(positions, encoder.looks(positions) if isinstance(encoder, TellsLooks) else [])
            )
            count += counts[side.name]
        assert isinstance(self.fusion, EarlyFusion | LateFusion | HierarchicalFusion)
        return self.fusion.flow(sides, count)

    def trace_pair(
        self, picture: PreparedPart, text: PreparedPart, heads: VectorHeads | None = None
    ) -> TracedPair:
        """A pair with all that is looked at on its way; ``heads``: logits by name of its vector
        ``[1, width]``.

        Raises:
            ValueError: other modalities than a picture that a ViT sees and a text that a BERT reads.
        """
        kinds = {type(encoder): name for name, encoder in self.encoders.items()}
        if len(self.encoders) != 2 or set(kinds) != {PictureLayers, TextLayers}:
            raise ValueError(f"expected a ViT and a BERT, got {list(self.encoders)}")
        names = (kinds[PictureLayers], kinds[TextLayers])
        see, read = (self.encoders[name] for name in names)
        assert isinstance(see, PictureLayers)
        assert isinstance(read, TextLayers)

        def flow(p: int, t: int) -> PairFlow:
            counts = dict(zip(names, (p, t), strict=True))
            first = next(iter(self.encoders)) == names[0]
            own_p, own_t = (range(p), range(p, p + t)) if first else (range(t, t + p), range(t))
            return PairFlow(**vars(self.flow(counts)), picture=own_p, text=own_t)

        def compute(pixels_bhwc: Tensor, ids_bt: Tensor) -> Mapping[str, Tensor]:
            given = dict(zip(names, (Given(pixels_bhwc), Given(ids_bt)), strict=True))
            return {} if heads is None else heads(self(given).vector_bd)

        return trace_pair(
            picture,
            text,
            compute,
            flow=flow,
            places=see.stem.vit.places,
            embedding=read.stem.bert.token,
            device=next(self.parameters()).device,
        )

    def _encode(self, index: int, given: Given | None, b: int) -> Side:
        side = self.config.sides[index]
        if given is None:
            weight = next(self.fusion.parameters())
            nothing = weight.new_zeros((b, 1, side.encoder.width))
            return Side(
                [nothing] * side.encoder.depth, torch.zeros((b, 1), dtype=torch.bool, device=weight.device)
            )
        encoder = self.encoders[side.name]
        if not isinstance(encoder, TellsLayers):
            raise TypeError(f"expected an encoder of {side.name} that tells its layers, got {type(encoder)}")
        mask = given.mask
        layers = encoder.layers(given.values, mask if mask is not None and mask.dim() == 2 else None)
        shape = layers[-1].shape[:2]
        if mask is None:
            mask = torch.ones(shape, dtype=torch.bool, device=layers[-1].device)
        return Side(layers, (mask[:, None] if mask.dim() == 1 else mask).expand(shape))


def _states(values: Values) -> Tensor:
    return values if isinstance(values, Tensor) else values[-1]
