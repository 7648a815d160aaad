"""Where models that give vectors looked: vectors stay the same, and weights mean something."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoints"))

from published_folders import make

import chiasm
from chiasm.checkpoints import load
from chiasm.errors import InvalidInput
from chiasm.inference import optimise
from chiasm.modality import Audio, Image, Part, Text, Video
from chiasm.models.traced import METHODS
from chiasm.preprocess import ModelDescription, PreparedItem, PreparedPart, Preprocessor
from chiasm.preprocess.explanation import Explanation
from chiasm.tasks.explain import Look, Traces, explain

Loaded = tuple[Traces, ModelDescription]
KINDS = ("bert", "vit", "clip", "chinese_clip", "siglip")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Loaded]:
    folders: dict[str, Path] = {}

    def get(kind: str, packed: bool) -> Loaded:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp("explained") / f"tiny-{kind}"
            make(kind, folders[kind])
        model, description = load(folders[kind])
        if packed:
            optimise(model)
        return model, description

    return get


@pytest.fixture(scope="module")
def mini() -> chiasm.Model:
    return chiasm.load(device="cpu")


def samples() -> list[Part]:
    random = np.random.default_rng(7)
    waves = np.sin(np.arange(24_000) / 9).astype(np.float32) * 0.4
    return [
        Text("a red apple 苹果"),
        Image(random.integers(0, 256, (50, 71, 3), np.uint8)),
        Audio(waves, 16_000),
        Video(random.integers(0, 256, (6, 40, 56, 3), np.uint8), 4.0, Audio(waves, 16_000)),
    ]


def prepared(description: ModelDescription) -> list[PreparedPart]:
    prepare = Preprocessor(description)
    return [prepare.prepare_part(part) for part in samples() if part.modality in description.modalities]


def expect_the_same(model: Traces, parts: list[PreparedPart]) -> None:
    for part in parts:
        with torch.inference_mode():
            plain = model.embed([PreparedItem((part,))])[0]
        traced = model.trace(part, 2.0)
        torch.testing.assert_close(traced.vector.detach(), plain.clone(), atol=2e-6, rtol=0)
        other = torch.nn.functional.normalize(torch.ones_like(traced.vector), dim=0)
        for method in METHODS:
            found = Look(method).at(traced, traced.vector @ other)
            places = [place for looked in traced.passes for row in looked.places for place in row]
            assert found.shape == (len(places),)
            assert np.isfinite(found).all()
            assert (found >= 0).all()
            assert found.sum() > 0


@pytest.mark.parametrize("packed", [False, True], ids=["loaded", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_looking_changes_no_vector(kind: str, packed: bool, published: Callable[[str, bool], Loaded]) -> None:
    model, description = published(kind, packed)
    expect_the_same(model, prepared(description))


def test_looking_changes_no_vector_of_the_default_model(mini: chiasm.Model) -> None:
    model = mini._module
    assert isinstance(model, Traces)
    expect_the_same(model, prepared(mini.description))


def scene(left: str, right: str) -> np.ndarray:
    from PIL import Image as Pillow

    folder = Path(chiasm.__file__).parent / "library" / "sample" / "pictures"
    halves = [Pillow.open(folder / name).convert("RGB").resize((200, 200)) for name in (left, right)]
    return np.concatenate([np.asarray(half) for half in halves], axis=1)


def test_the_default_model_looks_where_the_thing_is(mini: chiasm.Model) -> None:
    prepare, model = mini.preprocessor, mini._module
    assert isinstance(model, Traces)
    names = {"bicycle": 0, "panda": 1, "自行车": 0, "熊猫": 1}
    part = prepare.prepare_part(Image(scene("bicycle.webp", "panda.webp")))
    for name, half in names.items():
        others = [prepare.prepare_part(Text(other)) for other in names if names[other] != half]
        found = explain(model, part, prepare.prepare_part(Text(name)), others=others)
        right = sum(
            weight
            for place, weight in zip(found.input.places, found.input.weights, strict=True)
            if place.box is not None and place.box[0] >= 0.5
        )
        assert (right if half else 1 - right) > 0.6, name
        assert float(found.input.weights.sum()) == pytest.approx(1, abs=1e-5)


def test_links_say_what_belongs_to_a_word(mini: chiasm.Model) -> None:
    prepare, model = mini.preprocessor, mini._module
    assert isinstance(model, Traces)
    text = Text("bicycle and panda")
    words = [prepare.prepare_part(Text(word)) for word in ("bicycle", "panda")]
    part = prepare.prepare_part(Image(scene("bicycle.webp", "panda.webp")))
    found = explain(model, part, prepare.prepare_part(text), words=words)
    assert found.links.shape == (2, len(found.input.places))
    right = np.array([place.box is not None and place.box[0] >= 0.5 for place in found.input.places])
    bicycle, panda = (row[right].sum() for row in found.links)
    assert panda > bicycle + 0.2
    again = Explanation.from_message(*found.to_message())
    assert again.input.places == found.input.places
    np.testing.assert_array_equal(again.links, found.links)
    assert (again.method, again.score, again.layers) == ("contribution", found.score, found.layers)


def test_how_to_look_is_checked() -> None:
    with pytest.raises(
        InvalidInput, match="expected one of contribution, relevance, rollout, attention, gradient"
    ):
        Look("guess")
    with pytest.raises(InvalidInput, match="attention only"):
        Look("rollout", layer=1)
    with pytest.raises(InvalidInput, match="attention only") as caught:
        Look("relevance", head=0)
    assert caught.value.param == "head"


def test_a_layer_that_is_not_there_is_refused(mini: chiasm.Model) -> None:
    prepare, model = mini.preprocessor, mini._module
    assert isinstance(model, Traces)
    part = prepare.prepare_part(Text("apple"))
    with pytest.raises(InvalidInput, match="layer from 0 to 6, got 99"):
        explain(model, part, part, Look("attention", layer=99))
