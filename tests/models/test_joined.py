"""ViT and BERT joined: the states of either alone, and of a naive reimplementation."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cross_modal import TEXT, VISION
from torch import Tensor, nn

from chiasm.models.bert.model import Bert
from chiasm.models.joined.config import JoinedConfig
from chiasm.models.joined.model import Joined, JoinedStates
from chiasm.models.vit.model import Vit
from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.blocks import Block
from chiasm.nn.recorder import record
from chiasm.preprocess.places import Place

KINDS = ("vit", "bert", "crossed", "crossed-1")


def shape(kind: str) -> JoinedConfig:
    if kind.startswith("crossed"):
        return JoinedConfig(
            vision=VISION,
            text=replace(TEXT, depth=3),
            joining="crossed",
            crossed_depth=1 if kind == "crossed-1" else None,
        )
    return JoinedConfig(vision=VISION, text=replace(TEXT, depth=3), trunk=kind)  # type: ignore[arg-type]


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of which none is 0 or 1."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def a_model(kind: str) -> Joined:
    torch.manual_seed(1)
    model = shaken(Joined(shape(kind)))
    assert isinstance(model, Joined)
    return model


def inputs(b: int = 3, t: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (b, 8, 8, 3), dtype=torch.uint8, generator=g)
    return pixels, torch.randint(0, 20, (b, t), generator=g)


def attend(layer: MultiHeadAttention, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """Explicit attention, head by head."""
    q, k, v = layer.query(x), layer.key(context), layer.value(context)
    each = q.shape[-1] // layer.heads
    heads = []
    for n in range(layer.heads):
        own = slice(n * each, (n + 1) * each)
        scores = q[..., own] @ k[..., own].transpose(1, 2) / math.sqrt(each)
        heads.append(scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1) @ v[..., own])
    return layer.output(torch.cat(heads, dim=-1))


def naive_block(block: Block, x: Tensor, mask: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
    norms = (block.attention_norm, getattr(block, "cross_norm", None), block.feed_forward_norm)
    steps = (
        lambda y: attend(block.attention, y, y, mask),
        lambda y: attend(block.cross, y, context, context_mask),
        lambda y: block.feed_forward.contract(F.gelu(block.feed_forward.expand(y))),
    )
    for norm, step in zip(norms, steps, strict=True):
        if norm is not None:
            x = x + step(norm(x)) if block.pre else norm(x + step(x))
    return x


def naive(model: Joined, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Every state by the formulas, without fused kernels."""
    vit, bert = model.pictures.vit, model.texts.bert
    kernel = vit.stem.project.weight
    patches = []
    for row in range(2):
        for column in range(2):
            box = pixels[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].to(kernel.dtype)
            values = (box / 255 - 0.5) / 0.5
            patches.append(torch.einsum("bhwc,dchw->bd", values, kernel) + vit.stem.project.bias)
    p = torch.stack([vit.class_token.expand(len(pixels), -1), *patches], dim=1) + vit.position
    p = p + model.type_nd[0]
    t = bert.token(ids) + bert.position.weight[: ids.shape[1]] + bert.token_type.weight[0]
    t = bert.norm(t) + model.type_nd[1]
    mask_p = torch.ones(p.shape[:2], dtype=torch.bool)
    if model.config.joining == "concatenated":
        x, both = torch.cat([p, t], dim=1), torch.cat([mask_p, mask], dim=1)
        for block in model.trunk.encoder.blocks:
            x = naive_block(block, x, both, x, both)
        return model.trunk.encoder.norm(x)
    blocks_p, blocks_t = list(model.trunk.vision.blocks), list(model.trunk.text.blocks)
    while len(blocks_p) > model.config.crossed:
        p = naive_block(blocks_p.pop(0), p, mask_p, p, mask_p)
    while len(blocks_t) > model.config.crossed:
        t = naive_block(blocks_t.pop(0), t, mask, t, mask)
    for of_p, of_t in zip(blocks_p, blocks_t, strict=True):
        p, t = naive_block(of_p, p, mask_p, t, mask), naive_block(of_t, t, mask, p, mask_p)
    return torch.cat([model.trunk.vision.norm(p), t], dim=1)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_states_are_those_of_the_formulas(kind: str) -> None:
    model = a_model(kind).double()
    pixels, ids = inputs()
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    out = model(pixels, ids, mask)
    expected = naive(model, pixels, ids, mask)
    assert out.states_bsd.shape == (3, 5 + 6, 32)
    real = out.mask_bs
    assert real.tolist() == torch.cat([torch.ones(3, 5, dtype=torch.bool), mask], dim=1).tolist()
    torch.testing.assert_close(out.states_bsd[real], expected[real], atol=1e-10, rtol=0)
    torch.testing.assert_close(
        model(pixels, ids).states_bsd, naive(model, pixels, ids, torch.ones_like(mask)), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str) -> None:
    model = a_model(kind)
    out: JoinedStates = model(*inputs())
    (out.states_bsd.square().sum() + out.vector().sum()).backward()
    unused = {"texts.bert.token_type.weight"}  # of which only the first row is
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or name in unused, name


@pytest.mark.parametrize("kind", ["vit", "crossed", "crossed-1"])
@torch.no_grad()
def test_a_picture_alone_has_the_states_of_its_vit(kind: str) -> None:
    vit, bert = shaken(Vit(VISION)), shaken(Bert(replace(TEXT, depth=3)))
    model = a_model(kind)
    model.start(vit, bert)  # type: ignore[arg-type]
    pixels, ids = inputs()
    expected = vit(pixels)[1]
    alone = model(pixels, None)
    torch.testing.assert_close(alone.picture_bpd, expected, atol=1e-5, rtol=0)
    assert alone.text_btd.shape == (3, 0, 32)
    silent = model(pixels, ids, torch.zeros_like(ids, dtype=torch.bool))
    torch.testing.assert_close(silent.picture_bpd, expected, atol=1e-5, rtol=0)
    if kind != "vit":  # what looks across adds nothing yet, whatever there is to see
        torch.testing.assert_close(model(pixels, ids).picture_bpd, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_text_alone_has_the_states_of_its_bert() -> None:
    vit, bert = shaken(Vit(VISION)), shaken(Bert(replace(TEXT, depth=3)))
    model = a_model("bert")
    model.start(vit, bert)  # type: ignore[arg-type]
    pixels, ids = inputs()
    expected = bert(ids, torch.ones_like(ids, dtype=torch.bool))
    torch.testing.assert_close(model(None, ids).text_btd, expected, atol=1e-5, rtol=0)
    dark = model(pixels, ids, None, torch.zeros(3, 1, dtype=torch.bool))
    torch.testing.assert_close(dark.text_btd, expected, atol=1e-5, rtol=0)


def test_the_trunk_s_own_weights_are_asked_for() -> None:
    vit, bert = Vit(VISION), Bert(TEXT)
    with pytest.raises(ValueError, match=r"expected weights of the trunk \(vit\)"):
        a_model("vit").start(None, bert)
    with pytest.raises(ValueError, match=r"expected weights of the trunk \(bert\)"):
        a_model("bert").start(vit)
    with pytest.raises(ValueError, match="expected 3 blocks, got 2"):
        a_model("bert").start(None, bert)
    with pytest.raises(ValueError, match="expected a ViT of patch 4, got 8"):
        a_model("vit").start(Vit(replace(VISION, patch=8)))
    with pytest.raises(ValueError, match="expected a BERT of vocabulary 20, got 21"):
        a_model("vit").start(vit, Bert(replace(TEXT, vocabulary=21)))
    vit.fold_pixels()
    with pytest.raises(ValueError, match="folded"):
        a_model("vit").start(vit)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_padding_changes_nothing(kind: str) -> None:
    model = a_model(kind)
    pixels, ids = inputs(t=9)
    mask = torch.arange(9) < torch.tensor([[9], [1], [4]])
    together = model(pixels, ids, mask)
    for row, length in enumerate((9, 1, 4)):
        alone = model(pixels[row : row + 1], ids[row : row + 1, :length])
        torch.testing.assert_close(together.picture_bpd[row], alone.picture_bpd[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.text_btd[row, :length], alone.text_btd[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.vector()[row], alone.vector()[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_patches_may_be_padding_too(kind: str) -> None:
    model = a_model(kind)
    pixels, ids = inputs()
    mask = torch.tensor([[True, True, True, False, False]]).expand(3, 5)  # class token, upper row
    changed = pixels.clone()
    changed[:, 4:] = 255 - changed[:, 4:]
    one, other = model(pixels, ids, None, mask), model(changed, ids, None, mask)
    torch.testing.assert_close(one.text_btd, other.text_btd, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(one.picture_bpd[:, :3], other.picture_bpd[:, :3], atol=2e-6, rtol=1e-5)
    assert not torch.allclose(model(pixels, ids).text_btd, one.text_btd, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_missing_side_is_the_same_for_a_row_as_for_the_batch(kind: str) -> None:
    model = a_model(kind)
    pixels, ids = inputs()
    mask_bt = torch.ones_like(ids, dtype=torch.bool)
    mask_bt[0] = False
    mask_bp = torch.tensor([[True], [False], [True]])
    mixed = model(pixels, ids, mask_bt, mask_bp)
    picture, text, both = model(pixels[:1], None), model(None, ids[1:2]), model(pixels[2:], ids[2:])
    torch.testing.assert_close(mixed.picture_bpd[0], picture.picture_bpd[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed.text_btd[1], text.text_btd[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed.states_bsd[2], both.states_bsd[0], atol=1e-5, rtol=0)
    expected = torch.cat([each.vector() for each in (picture, text, both)])
    torch.testing.assert_close(mixed.vector(), expected, atol=1e-5, rtol=0)
    assert torch.isfinite(mixed.states_bsd).all()
    with pytest.raises(ValueError, match="got neither"):
        model(None, None)


def test_positions_have_names() -> None:
    pixels, ids = inputs(t=2)
    places = a_model("vit")(pixels[:, :, :4].repeat(1, 2, 1, 1), ids).places
    assert places == [
        Place("class", 0),
        *(Place("patch", n, (0.0, n / 4, 1.0, (n + 1) / 4)) for n in range(4)),
        Place("token", 0),
        Place("token", 1),
    ]
    assert a_model("crossed")(pixels, None).places[2] == Place("patch", 1, (0.5, 0.0, 1.0, 0.5))
    assert a_model("crossed")(None, ids).places == [Place("token", 0), Place("token", 1)]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_attention_is_recorded_and_changes_nothing(kind: str) -> None:
    model = a_model(kind)
    pixels, ids = inputs()
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    before = model(pixels, ids, mask)
    with record(model) as seen:
        after = model(pixels, ids, mask)
    torch.testing.assert_close(after.states_bsd, before.states_bsd, atol=2e-6, rtol=1e-5)
    shapes = {name: tuple(alpha.shape) for name, alpha in seen.weights}
    if kind in ("vit", "bert"):
        depth = 2 if kind == "vit" else 3
        assert shapes == {f"trunk.encoder.blocks.{n}.attention": (3, 4, 11, 11) for n in range(depth)}
    else:
        assert shapes["trunk.vision.blocks.1.cross"] == (3, 4, 5, 6)
        assert shapes["trunk.text.blocks.2.cross"] == (3, 4, 6, 5)
        crosses = [name for name in shapes if name.endswith("cross")]
        assert len(crosses) == (2 if kind == "crossed-1" else 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": replace(TEXT, width=64)}, "of one width, got 32 and 64"),
        ({"joining": "stacked"}, "got 'stacked'"),
        ({"trunk": "gpt"}, "got 'gpt'"),
        ({"crossed_depth": 3}, "expected 1 to 2 crossed blocks, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JoinedConfig(**{"vision": VISION, "text": TEXT, **changes})
