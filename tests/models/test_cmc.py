"""CMC: the numbers of the paper's own code, and views that learn what they share."""

import argparse
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from seeded import state, values
from torch import Tensor, nn

from chiasm.errors import CheckpointError
from chiasm.models.cmc.alexnet import HalfAlexNet
from chiasm.models.cmc.config import CmcConfig
from chiasm.models.cmc.import_weights import convert, read_checkpoint
from chiasm.models.cmc.model import Cmc
from chiasm.models.cmc.views import channels, crops, lab, lightness_and_colour
from chiasm.nn.contrast import MemoryBank, draw

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "cmc.json").read_text())


def small(**changes: object) -> CmcConfig:
    made = {"views": ("l", "ab"), "dim": GOLDEN["dim"], "count": GOLDEN["count"], "items": GOLDEN["items"]}
    return CmcConfig(**{**made, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", ["nce", "softmax"])
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_losses_and_memory_are_the_papers(objective: str, precision: torch.dtype, tolerance: float) -> None:
    config = small(objective=objective)
    model = Cmc(config, {view: nn.Identity() for view in config.views}).to(precision)
    for view, bank in model.banks.items():
        assert isinstance(bank, MemoryBank)
        bank.rows.copy_(values(f"memory {view}", tuple(bank.rows.shape)).double() * 0.3)
    for step, (places, drawn) in enumerate(zip(GOLDEN["places"], GOLDEN["drawn"], strict=True)):
        given = {view: values(f"{view} {step}", (4, config.dim)).to(precision) for view in config.views}
        loss = model.loss(model(given), torch.tensor(places), drawn_bk=torch.tensor(drawn))
        expected = sum(GOLDEN[objective]["losses"][step])
        assert abs(float(loss) - expected) < tolerance * max(1, abs(expected))
    for view, bank in model.banks.items():
        expected_nd = torch.tensor(GOLDEN[objective]["memory"][view], dtype=precision)
        torch.testing.assert_close(bank.rows, expected_nd, atol=tolerance, rtol=0)


def released() -> dict[str, Tensor]:
    return {f"encoder.module.{n}": t for n, t in state((n, s) for n, s in GOLDEN["shapes"]).items()}


@torch.no_grad()
def test_features_are_the_papers(tmp_path: Path) -> None:
    options = argparse.Namespace(model="alexnet", nce_k=4096)
    torch.save({"opt": options, "model": released(), "epoch": 200}, tmp_path / "cmc.pth")
    encoders = {"l": HalfAlexNet(1, GOLDEN["dim"]), "ab": HalfAlexNet(2, GOLDEN["dim"])}
    model = Cmc(small(negatives="batch"), encoders)
    told = model.load_state_dict(read_checkpoint(tmp_path / "cmc.pth"), strict=False)
    assert not told.unexpected_keys
    assert all(name.startswith("noise.") for name in told.missing_keys)
    x = values("picture", (2, 3, 224, 224))
    found = model.eval()({"l": x[:, :1], "ab": x[:, 1:]})
    for view, expected in zip(("l", "ab"), GOLDEN["features"], strict=True):
        torch.testing.assert_close(found[view], torch.tensor(expected), atol=1e-5, rtol=0)


def test_pickles_of_anything_else_are_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {mark}",)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Evil()}, protocol=2))
    (tmp_path / "not.pth").write_bytes(b"no")
    torch.save({"state": {}}, tmp_path / "other.pth")
    torch.save({"model": {"a": "text"}}, tmp_path / "text.pth")
    for name in ("evil", "not", "other", "text", "none"):
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(tmp_path / f"{name}.pth")
    assert not mark.exists()
    assert "encoder.module.surprise" not in convert({"encoder.module.surprise": torch.zeros(1)})


class Things:
    """Things with a hidden nature of which each view shows a noisy, differently mixed part."""

    def __init__(self, views: tuple[str, ...], items: int = 256) -> None:
        generator = torch.Generator().manual_seed(1)
        nature = torch.randn(items, 6, generator=generator)
        self.views = {}
        for view in views:
            mixing = torch.randn(6, 12, generator=generator)
            noise = torch.randn(items, 20, generator=generator)
            self.views[view] = torch.cat([nature @ mixing, 3 * noise], dim=1)
        self.items = items


def trained(config: CmcConfig, things: Things, steps: int = 100) -> Cmc:
    torch.manual_seed(0)
    encoders = {
        view: nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, config.dim)) for view in config.views
    }
    model = Cmc(config, encoders)
    generator = torch.Generator().manual_seed(2)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        places = torch.randperm(things.items, generator=generator)[:64]
        vectors = model({view: x[places] for view, x in things.views.items()})
        loss = model.loss(vectors, places, generator=generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@torch.no_grad()
def found_first(model: Cmc, things: Things, a: str, b: str) -> float:
    """Share of things whose other view is the nearest of all."""
    vectors = model(things.views)
    nearest = (vectors[a] @ vectors[b].T).argmax(dim=1)
    return float((nearest == torch.arange(things.items)).float().mean())


@pytest.mark.parametrize("pairing", ["full", "core"])
@pytest.mark.parametrize("objective", ["nce", "softmax"])
@pytest.mark.parametrize("negatives", ["memory", "batch"])
def test_views_find_each_other(pairing: str, objective: str, negatives: str) -> None:
    things = Things(("l", "ab", "depth"))
    config = CmcConfig(
        views=("l", "ab", "depth"), pairing=pairing, objective=objective, negatives=negatives,  # type: ignore[arg-type]
        dim=16, count=128, items=things.items,
    )  # fmt: skip
    model = trained(config, things)
    for a, b in config.pairs():
        assert found_first(model, things, a, b) > 0.2, "chance is 0.004"


def test_pairs_of_views() -> None:
    three = CmcConfig(views=("a", "b", "c"), items=9, count=3)
    assert three.pairs() == [("a", "b"), ("a", "c"), ("b", "c")]
    core = CmcConfig(views=("a", "b", "c"), items=9, count=3, pairing="core")
    assert core.pairs() == [("a", "b"), ("a", "c")]


@pytest.mark.parametrize("negatives", ["memory", "batch"])
@pytest.mark.parametrize("objective", ["nce", "softmax"])
def test_a_thing_without_a_view_changes_nothing_of_it(negatives: str, objective: str) -> None:
    config = small(negatives=negatives, objective=objective)
    torch.manual_seed(4)
    whole, part = (Cmc(config, {view: nn.Identity() for view in config.views}) for _ in range(2))
    part.load_state_dict(whole.state_dict())
    given = {view: torch.randn(5, config.dim) for view in config.views}
    places = torch.arange(5)
    drawn = draw(places, config.items, config.count, torch.Generator().manual_seed(1))
    there = torch.tensor([True, False, True, True, False])
    loss = part.loss(part(given), places, present={"ab": there}, drawn_bk=drawn)
    few = {view: x[there] for view, x in given.items()}
    expected = whole.loss(whole(few), places[there], drawn_bk=drawn[there])
    torch.testing.assert_close(loss, expected)
    for view, bank in part.banks.items():
        before = whole.banks[view].rows
        assert torch.equal(bank.rows[1], before[1]) == (view == "ab")
    nobody = part.loss(part(given), places, present={"ab": torch.zeros(5, dtype=torch.bool)}, drawn_bk=drawn)
    assert float(nobody) == 0


def test_a_missing_view_is_represented_by_nothing() -> None:
    config = small(negatives="batch")
    model = Cmc(config, {view: nn.Identity() for view in config.views})
    x = {view: torch.randn(3, config.dim) for view in config.views}
    both, one = model.represent(x), model.represent({"l": x["l"]})
    assert both.shape == one.shape == (3, 2 * config.dim)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(3))
    assert float(one[:, config.dim :].abs().max()) == 0


def test_what_makes_no_contrast_is_refused() -> None:
    for changes, message in (
        ({"views": ("l",)}, "at least two views"),
        ({"views": ("l", "l")}, "each once"),
        ({"count": 30}, "fewer negatives"),
        ({"count": 0}, "fewer negatives"),
        ({"temperature": 0.0}, "temperature"),
        ({"momentum": 1.0}, "momentum"),
    ):
        with pytest.raises(ValueError, match=message):
            small(**changes)
    config = small()
    with pytest.raises(ValueError, match="expected encoders"):
        Cmc(config, {"l": nn.Identity()})
    model = Cmc(config, {view: nn.Identity() for view in config.views})
    x = torch.randn(3, config.dim)
    with pytest.raises(ValueError, match="expected some of the views"):
        model({"depth": x})
    with pytest.raises(ValueError, match="two views"):
        model.loss(model({"l": x}), torch.arange(3))
    with pytest.raises(ValueError, match="places"):
        model.loss(model({"l": x, "ab": x}))


def test_lab_of_known_colours() -> None:
    known = {
        (255, 255, 255): (100.0, 0.0, 0.0), (0, 0, 0): (0.0, 0.0, 0.0), (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18), (0, 0, 255): (32.30, 79.19, -107.86),
        (128, 128, 128): (53.59, 0, 0),
    }  # fmt: skip
    pixels = torch.tensor([list(known)], dtype=torch.uint8)[:, None]
    found = lab(pixels)[0, :, 0].T
    torch.testing.assert_close(found, torch.tensor(list(known.values())), atol=0.02, rtol=0)
    both = lightness_and_colour(pixels)
    assert both["l"].shape == (1, 1, 1, 6)
    assert both["ab"].shape == (1, 2, 1, 6)
    assert float(both["ab"].abs().max()) <= 1.001


def test_channels_and_crops() -> None:
    x = torch.arange(2 * 3 * 8 * 9.0).view(2, 3, 8, 9)
    assert torch.equal(channels(x, ("r", "g", "b"))["g"], x[:, 1:2])
    with pytest.raises(ValueError, match="expected 3 names"):
        channels(x, ("r",))
    found = crops(x, 4, ("one", "two"), torch.Generator().manual_seed(1))
    assert found["one"].shape == (2, 3, 4, 4)
    assert not torch.equal(found["one"], found["two"])
    again = crops(x, 4, ("one", "two"), torch.Generator().manual_seed(1))
    assert torch.equal(found["two"], again["two"])
    with pytest.raises(ValueError, match="at least 9"):
        crops(x, 9, ("one",))
