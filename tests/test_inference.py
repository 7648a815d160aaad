"""``chiasm.load()`` and its model, from a folder on the disk to vectors of files."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import chiasm
from chiasm.errors import CheckpointError, ChiasmError, DeadlineExceeded, InvalidInput, SettingsError

RATE = 16_000


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> chiasm.Model:
    return chiasm.load(tiny_checkpoint, device="cpu")


def picture(seed: int, width: int = 80, height: int = 60) -> chiasm.Image:
    """Coloured squares."""
    squares = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return chiasm.Image(squares.repeat(10, axis=0).repeat(10, axis=1))


def tone(frequency: float, seconds: float) -> chiasm.Audio:
    time_axis = np.arange(round(seconds * RATE)) / RATE
    return chiasm.Audio((0.4 * np.sin(2 * np.pi * frequency * time_axis)).astype(np.float32), RATE)


def clip(seed: int, frames: int, *, sound: bool = False) -> chiasm.Video:
    start = picture(seed).pixels
    moved = np.stack([np.roll(start, 7 * i, axis=1) for i in range(frames)])
    return chiasm.Video(moved, 2.0, tone(300, frames / 2) if sound else None)


TEXTS = ["a red apple", "红苹果", "dog", "the yellow bird and the blue car in the green piano", "!"]
PICTURES = [picture(seed) for seed in range(4)]
SOUNDS = [tone(200, 0.2), tone(900, 1.3), tone(3000, 2.6)]
CLIPS = [clip(0, 1), clip(1, 4), clip(2, 9), clip(3, 6, sound=True)]
MIXED = [["green", PICTURES[0]], [PICTURES[1], SOUNDS[0], "red"], [CLIPS[1], "a dog", "a cat"]]
KINDS = {"text": TEXTS, "image": PICTURES, "audio": SOUNDS, "video": CLIPS, "mixed": MIXED}


@pytest.mark.parametrize("kind", KINDS)
def test_one_by_one_or_together_gives_the_same_vectors(model: chiasm.Model, kind: str) -> None:
    """Neither padding nor the company in a batch changes a vector."""
    values = KINDS[kind]
    together = model.embed(values)
    alone = np.concatenate([model.embed([value]) for value in values])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    # Different things have different vectors, or the comparison above could not fail.
    assert (together @ together.T)[~np.eye(len(values), dtype=bool)].max() < 0.9999


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_the_vectors_of_a_cpu(model: chiasm.Model, tiny_checkpoint: Path, kind: str) -> None:
    on_gpu = chiasm.load(tiny_checkpoint, device="cuda").embed(KINDS[kind])
    assert (on_gpu * model.embed(KINDS[kind])).sum(axis=1).min() > 0.999


def test_the_order_is_kept_through_all_modalities(model: chiasm.Model) -> None:
    values = [value for group in zip(*(KINDS[kind][:3] for kind in KINDS), strict=True) for value in group]
    forward, backward = model.embed(values), model.embed(values[::-1])
    np.testing.assert_allclose(forward, backward[::-1], atol=1e-5)


def test_many_values_are_computed_in_pieces(model: chiasm.Model) -> None:
    texts = [f"dog {number}" for number in range(130)]
    np.testing.assert_allclose(
        model.embed(texts)[[0, 64, 129]], model.embed([texts[0], texts[64], texts[129]]), atol=1e-5
    )


def test_nothing_gives_no_rows(model: chiasm.Model) -> None:
    assert model.embed([]).shape == (0, 64)


@pytest.mark.parametrize(
    "subset", [("text", "audio"), ("image", "video"), ("audio", "image", "text", "video")]
)
def test_any_modalities_together_are_one_item(model: chiasm.Model, subset: tuple[str, ...]) -> None:
    mixed = model.embed([[KINDS[kind][0] for kind in subset]])
    assert mixed.shape == (1, 64)
    assert np.isfinite(mixed).all()


def test_every_part_of_a_mixed_item_counts(model: chiasm.Model) -> None:
    one, other = model.embed([["green", PICTURES[0]], ["red", PICTURES[0]]])
    assert one @ other < 0.9999


def test_files_pillow_images_and_arrays_are_the_same_thing(model: chiasm.Model, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Pillow.fromarray(PICTURES[0].pixels).save(path)
    with Pillow.open(path) as opened:
        rows = model.embed([path, path.read_bytes(), opened, PICTURES[0], chiasm.Item((PICTURES[0],))])
    np.testing.assert_allclose(rows, rows[[0] * 5], atol=1e-6)


def test_a_string_is_text_even_if_it_names_a_file(model: chiasm.Model, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("cat")
    assert model.embed([str(tmp_path / "a.txt")]) @ model.embed(["cat"])[0] < 0.999


def test_fewer_dimensions_are_unit_rows_too(model: chiasm.Model) -> None:
    whole, short = model.embed(TEXTS), model.embed(TEXTS, dimensions=16)
    assert short.shape == (5, 16)
    np.testing.assert_allclose(
        short, whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True), atol=1e-5
    )
    for wrong in (0, 65):
        with pytest.raises(InvalidInput, match="expected 1 to 64 dimensions"):
            model.embed(TEXTS, dimensions=wrong)


@pytest.mark.parametrize(
    ("values", "param"),
    [
        (["cat", Path("missing.png")], "input[1]"),
        (["cat", ["dog", 7]], "input[1].content[1]"),
        (["cat", "\ud800"], "input[1]"),
        ([["cat", "\ud800"]], "input[0].content[1]"),
        ([["cat"], []], "input[1]"),
        ("cat", "input"),
        (Path("cat.jpg"), "input"),
    ],
)
def test_what_cannot_be_embedded_is_named(model: chiasm.Model, values: object, param: str) -> None:
    with pytest.raises(ChiasmError) as caught:
        model.embed(values)  # type: ignore[arg-type]
    assert caught.value.param == param


def test_scores_of_one_label_each_sum_to_one(model: chiasm.Model) -> None:
    scores = model.classify(PICTURES, ["cat", "狗", "a red apple"])
    assert scores.shape == (4, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        model.classify(PICTURES[2], ["cat", "狗", "a red apple"]), scores[2], atol=1e-4
    )


def test_the_label_that_says_what_is_there_wins(model: chiasm.Model) -> None:
    names = ["cat", "dog", "红苹果"]
    assert model.classify(names, names, template="{}").argmax(axis=1).tolist() == [0, 1, 2]


def test_labels_may_be_pictures(model: chiasm.Model) -> None:
    assert model.classify(PICTURES, PICTURES).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_a_label_is_the_mean_over_its_templates(model: chiasm.Model) -> None:
    said = model.classify("dog", ["cat", "dog"], template=["{}", "this is {}"])
    mean = model.embed(["cat", "this is cat"]).sum(axis=0), model.embed(["dog", "this is dog"]).sum(axis=0)
    cosines = np.stack([m / np.linalg.norm(m) for m in mean]) @ model.embed(["dog"])[0]
    powers = np.exp(model.description.logit_scale * cosines)
    np.testing.assert_allclose(said, powers / powers.sum(), atol=1e-4)


def test_labels_by_themselves_need_not_sum_to_one(model: chiasm.Model) -> None:
    scores = model.classify("dog", ["cat", "dog", "piano"], multi_label=True)
    assert scores.shape == (3,)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores.argmax() == 1


@pytest.mark.parametrize(
    ("labels", "more", "param"),
    [
        (["cat"], {}, "labels"),
        ("cat", {}, "labels"),
        ([], {"multi_label": True}, "labels"),
        (["cat", "dog"], {"template": "a photo"}, "template"),
        (["cat", "dog"], {"template": []}, "template"),
        (["cat", "dog"], {"template": 5}, "template"),
        (["cat", "dog"], {"template": [b"{}"]}, "template"),
        (["cat", 3], {}, "labels[1]"),
    ],
)
def test_labels_that_cannot_be_used_are_named(
    model: chiasm.Model, labels: list[object], more: dict[str, object], param: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        model.classify("dog", labels, **more)  # type: ignore[arg-type]
    assert caught.value.param == param


def test_threads_get_what_one_would(model: chiasm.Model) -> None:
    expected = model.embed(TEXTS)
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        found[number] = model.embed(TEXTS)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    for vectors in found.values():
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_who_waits_longer_than_the_deadline_is_told(tiny_checkpoint: Path) -> None:
    model = chiasm.load(tiny_checkpoint, device="cpu")
    item = model.preprocessor.prepare(chiasm.Item((chiasm.Text("cat"),)))
    assert model.embed_prepared([item], deadline=time.time() + 60).shape == (1, 64)
    with model._lock, pytest.raises(DeadlineExceeded):
        model.embed_prepared([item], deadline=time.time() - 1)


def test_what_is_loaded_says_what_it_is(model: chiasm.Model, tiny_checkpoint: Path) -> None:
    assert model.description.backend == "torch-cpu-float32"
    assert model.description.capabilities == ("embed", "classify")
    assert repr(model) == f"<chiasm.Model tiny {model.description.revision}, torch-cpu-float32>"
    assert chiasm.load(str(tiny_checkpoint), device="cpu").description == model.description


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:1", "cuda:x", "", "meta"])
def test_a_device_that_is_not_here_is_refused(tiny_checkpoint: Path, device: str) -> None:
    with pytest.raises(SettingsError, match="expected the device auto, cpu, cuda or cuda:N"):
        chiasm.load(tiny_checkpoint, device=device)


def test_a_model_that_is_not_here_is_refused() -> None:
    with pytest.raises(CheckpointError, match="expected 'chiasm-mini', hf:OWNER/NAME"):
        chiasm.load("no-such-model")
