"""Fusion of any encoders: shapes, padding, and what is missing."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from cross_modal import TEXT, VISION
from torch import Tensor, nn

from chiasm.models.bert.model import Bert
from chiasm.models.fusion.config import FusionConfig, SideConfig, StatesConfig
from chiasm.models.fusion.model import FusionModel, Given
from chiasm.models.vit.model import Vit
from chiasm.nn.fusion import Bilinear, Gate, Mlp, Sum, make_combination
from chiasm.nn.pooling import FirstPool, MeanPool
from chiasm.nn.recorder import record

SIDES = (
    SideConfig(name="picture", encoder=VISION, pooling="first"),
    SideConfig(name="text", encoder=TEXT),
    SideConfig(name="sound", encoder=StatesConfig(width=24, depth=3)),
)
SMALL: dict[str, Any] = {"width": 32, "heads": 4, "hidden": 64, "depth": 2}
KINDS: dict[str, dict[str, Any]] = {
    "early": {"kind": "early"},
    "early-local": {"kind": "early", "local_depth": 1},
    "sum": {"kind": "late", "combining": "sum"},
    "gate": {"kind": "late", "combining": "gate"},
    "bilinear": {"kind": "late", "combining": "bilinear"},
    "mlp": {"kind": "late", "combining": "mlp"},
    "hierarchical": {"kind": "hierarchical"},
}
LEFT = [(kind, missing) for kind in KINDS for missing in ("vector", "renormalise")]
LEFT.remove(("mlp", "renormalise"))


def a_model(kind: str, missing: str = "vector", sides: tuple[SideConfig, ...] = SIDES) -> FusionModel:
    torch.manual_seed(3)
    model = FusionModel(FusionConfig(sides=sides, missing=missing, **SMALL, **KINDS[kind]))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def inputs(b: int = 3) -> dict[str, Given]:
    g = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (b, 8, 8, 3), dtype=torch.uint8, generator=g)
    ids = torch.randint(0, 20, (b, 7), generator=g)
    sound = [torch.randn((b, 9, 24), generator=g) for _ in range(3)]
    return {
        "picture": Given(pixels),
        "text": Given(ids, torch.arange(7) < torch.tensor([[7], [2], [5]])[:b]),
        "sound": Given(sound, torch.arange(9) < torch.tensor([[3], [9], [6]])[:b]),
    }


def row_of(given: dict[str, Given], row: int) -> dict[str, Given]:
    """One row of each modality, without its padding."""
    cut = {}
    for name, (values, mask) in given.items():
        length = None if mask is None else int(mask[row].sum())
        rows = [
            v[row : row + 1] if length is None else v[row : row + 1, :length]
            for v in ([values] if isinstance(values, Tensor) else values)
        ]
        cut[name] = Given(rows[0] if isinstance(values, Tensor) else rows)
    return cut


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_three_modalities_make_one_vector(kind: str) -> None:
    out = a_model(kind)(inputs())
    assert out.vector_bd.shape == (3, 32)
    assert out.states_bsd.shape[:2] == out.mask_bs.shape
    if kind.startswith("early"):
        assert out.spans == {
            "fused": slice(0, 1), "picture": slice(1, 6), "text": slice(7, 14), "sound": slice(15, 24),
        }  # fmt: skip
        assert out.mask_bs[:, out.spans["text"]].sum(dim=1).tolist() == [7, 2, 5]
    elif kind == "hierarchical":
        assert out.spans == {"fused": slice(0, 8)}
    else:
        assert out.states_bsd.shape[1] == 0


@pytest.mark.parametrize(("kind", "missing"), LEFT)
@torch.no_grad()
def test_padding_and_neighbours_change_nothing(kind: str, missing: str) -> None:
    model, given = a_model(kind, missing), inputs()
    together = model(given).vector_bd
    for row in range(3):
        alone = model(row_of(given, row)).vector_bd[0]
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "missing"), LEFT)
@torch.no_grad()
def test_the_order_of_what_is_given_does_not_matter(kind: str, missing: str) -> None:
    model, given = a_model(kind, missing), inputs()
    backwards = dict(reversed(given.items()))
    assert torch.equal(model(given).vector_bd, model(backwards).vector_bd)


@pytest.mark.parametrize(("kind", "missing"), LEFT)
@torch.no_grad()
def test_the_order_of_the_configuration_is_one_of_weights_only(kind: str, missing: str) -> None:
    if kind in ("gate", "mlp"):
        pytest.skip("one matrix of all modalities: its columns are in order")
    model = a_model(kind, missing)
    other = a_model(kind, missing, SIDES[::-1])
    state = model.state_dict()
    moved = {}
    for name, tensor in state.items():
        parts = name.split(".")
        for n, part in enumerate(parts):
            list_of_sides = n and (
                parts[n - 1] in ("adapters", "locals", "factors") or (n > 1 and parts[n - 2] == "bridges")
            )
            if list_of_sides and part.isdigit():
                parts[n] = str(2 - int(part))
        moved[".".join(parts)] = tensor.flip(0) if name.endswith("missing_md") else tensor
    other.load_state_dict(moved)
    given = inputs()
    given["sound"] = Given(given["sound"].values, torch.tensor([True, False, True]))
    torch.testing.assert_close(model(given).vector_bd, other(given).vector_bd, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "missing"), LEFT)
@torch.no_grad()
def test_what_is_missing_from_a_row_is_as_if_it_had_not_been_given(kind: str, missing: str) -> None:
    model, given = a_model(kind, missing), inputs()
    assert not torch.isnan(model(given).vector_bd).any()
    for name in given:
        there = torch.tensor([True, False, True])
        partly = dict(given)
        mask = given[name].mask
        partly[name] = Given(given[name].values, there if mask is None else mask & there[:, None])
        mixed = model(partly).vector_bd
        without = model({other: g for other, g in given.items() if other != name}).vector_bd
        torch.testing.assert_close(mixed[1], without[1], atol=1e-5, rtol=0)
        torch.testing.assert_close(mixed[[0, 2]], model(given).vector_bd[[0, 2]], atol=1e-5, rtol=0)
        assert not torch.allclose(mixed[1], model(given).vector_bd[1], atol=1e-3)


@pytest.mark.parametrize(("kind", "missing"), LEFT)
@torch.no_grad()
def test_one_modality_alone_or_none_still_gives_numbers(kind: str, missing: str) -> None:
    model, given = a_model(kind, missing), inputs()
    for name in given:
        assert torch.isfinite(model({name: given[name]}).vector_bd).all()
    nothing = torch.zeros(3, dtype=torch.bool)
    out = model({name: Given(g.values, nothing) for name, g in given.items()})
    assert torch.isfinite(out.vector_bd).all()


@pytest.mark.parametrize(("kind", "missing"), LEFT)
def test_gradients_reach_every_parameter(kind: str, missing: str) -> None:
    model, given = a_model(kind, missing), inputs()
    given["text"] = Given(given["text"].values, torch.tensor([True, False, True]))
    given["sound"] = Given(given["sound"].values, torch.tensor([False, True, True]))
    given["picture"] = Given(given["picture"].values, torch.tensor([True, True, False]))
    out = model(given)
    (out.vector_bd**3).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0 or "attention.key.bias" in name, name


@pytest.mark.parametrize(("kind", "missing"), LEFT)
@torch.no_grad()
def test_recording_changes_nothing(kind: str, missing: str) -> None:
    model, given = a_model(kind, missing), inputs()
    given["sound"] = Given(given["sound"].values, torch.tensor([False, True, True]))
    before = model(given).vector_bd
    with record(model) as seen:
        after = model(given).vector_bd
    torch.testing.assert_close(after, before, atol=2e-6, rtol=1e-5)
    names = [name for name, _ in seen.weights]
    assert "encoders.picture.encoder.blocks.0.attention" in names
    if kind.startswith("early"):
        assert "fusion.trunk.blocks.1.attention" in names
    if kind == "hierarchical":
        crossed = dict(seen.weights)["fusion.stream.blocks.1.cross"]
        extra = 3 if missing == "vector" else 0
        assert crossed.shape == (3, 4, 8, 5 + 7 + 9 + extra)


@torch.no_grad()
def test_encoders_begin_from_trained_weights() -> None:
    model = a_model("early")
    vit, bert = Vit(VISION).eval(), Bert(TEXT).eval()
    for trained in (vit, bert):
        for parameter in trained.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    picture, text = model.encoders["picture"], model.encoders["text"]
    picture.start(vit)  # type: ignore[operator]
    text.start(bert)  # type: ignore[operator]
    given = inputs()
    pixels, (ids, mask) = given["picture"].values, given["text"]
    torch.testing.assert_close(picture.layers(pixels, None)[-1], vit(pixels)[1], atol=1e-5, rtol=0)  # type: ignore[operator]
    torch.testing.assert_close(text.layers(ids, mask)[-1][mask], bert(ids, mask)[mask], atol=1e-5, rtol=0)  # type: ignore[operator]
    assert len(picture.layers(pixels, None)) == 2  # type: ignore[operator]


def test_any_module_that_tells_its_layers_is_an_encoder() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(20, 32)

        def layers(self, values: Tensor, mask_bt: Tensor | None) -> list[Tensor]:
            return [self.table(values)] * 2

    config = FusionConfig(sides=SIDES[:2], **SMALL)
    model = FusionModel(config, {"text": Words()})
    given = inputs()
    del given["sound"]
    assert model(given).vector_bd.shape == (3, 32)
    with pytest.raises(TypeError, match="expected an encoder of text that tells its layers"):
        FusionModel(config, {"text": nn.Linear(2, 2)})(given)


def unit(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


def test_combinations_follow_their_formulas() -> None:
    torch.manual_seed(7)
    x, present = unit(2, 3, 4), torch.tensor([[True, True, True], [True, False, True]])
    rows = [[0, 1, 2], [0, 2]]
    gate, bilinear, mlp = Gate(3, 4).double(), Bilinear(3, 4, 2).double(), Mlp(3, 4, 5).double()
    found = [part(x, present) for part in (Sum(), gate, bilinear, mlp)]
    for b, there in enumerate(rows):
        total = sum(x[b, m] for m in there) * 3 / len(there)
        torch.testing.assert_close(found[0][b], total)
        kept = torch.cat([x[b, m] if m in there else torch.zeros(4, dtype=x.dtype) for m in range(3)])
        z = gate.gate(kept).view(3, 4).exp()
        content = [gate.content[m](x[b, m]).tanh() for m in range(3)]
        gated = sum(z[m] * content[m] for m in there) / sum(z[m] for m in there)
        torch.testing.assert_close(found[1][b], gated)
        product = torch.stack([bilinear.factors[m](x[b, m]).view(2, 4) for m in there]).prod(dim=0)
        expected = bilinear.weigh.weight[0] @ product + bilinear.weigh.bias
        torch.testing.assert_close(found[2][b], expected)
        torch.testing.assert_close(found[3][b], mlp.layers(kept))
    with pytest.raises(ValueError, match=r"expected one of .*got 'max'"):
        make_combination("max", 2, 4, rank=1, hidden=4)  # type: ignore[arg-type]


def test_pooling_counts_what_is_real() -> None:
    x, mask = unit(3, 4, 2), torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    mean, first = MeanPool()(x, mask), FirstPool()(x, mask)
    torch.testing.assert_close(mean, torch.stack([x[0].mean(0), x[1, :2].mean(0), torch.zeros_like(x[2, 0])]))
    torch.testing.assert_close(first, torch.stack([x[0, 0], x[1, 0], torch.zeros_like(x[2, 0])]))


def test_layers_are_chosen_evenly_or_by_name() -> None:
    deep = replace(TEXT, depth=6)
    config = FusionConfig(
        sides=(SideConfig(name="a", encoder=deep), SideConfig(name="b", encoder=VISION, layers=(2, 1, 2))),
        kind="hierarchical",
        depth=3,
    )
    assert [config.layers_of(side) for side in config.sides] == [(2, 4, 6), (2, 1, 2)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sides": SIDES[:1]}, "two or more modalities"),
        ({"sides": (SIDES[0], SIDES[0])}, "different names"),
        ({"kind": "middle"}, "got 'middle'"),
        ({"combining": "max"}, "got 'max'"),
        ({"missing": "raise"}, "got 'raise'"),
        ({"kind": "late", "combining": "mlp", "missing": "renormalise"}, "nothing to renormalise"),
        (
            {"kind": "hierarchical", "sides": (SIDES[0], replace(SIDES[1], layers=(0, 2)))},
            r"expected 2 layers of text from 1 to 2, got \(0, 2\)",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FusionConfig(**{"sides": SIDES, **SMALL, **changes})


def test_inputs_that_do_not_fit_are_refused() -> None:
    model, given = a_model("early"), inputs()
    with pytest.raises(ValueError, match=r"expected some of .*got nothing"):
        model({})
    with pytest.raises(ValueError, match=r"got \['smell'\]"):
        model({**given, "smell": given["text"]})
    with pytest.raises(ValueError, match="as many rows of each modality"):
        model({**given, "text": Given(torch.zeros(2, 3, dtype=torch.long))})
    with pytest.raises(ValueError, match="expected states of 3 layers, got 1"):
        model({**given, "sound": Given(torch.zeros(3, 4, 24))})
