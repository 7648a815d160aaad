"""Published layouts: the same numbers as ``transformers``, and what does not fit is refused by name."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from published_folders import TEXTS, make, openai_names
from safetensors.torch import load_file, save_file

import chiasm
from chiasm.checkpoints import load
from chiasm.errors import CheckpointError, InvalidInput, SettingsError
from chiasm.media.part import item_of_value
from chiasm.modality import Modality
from chiasm.models.clip.import_weights import convert
from chiasm.preprocess import Preprocessor
from chiasm.settings import Limits

KINDS = ("bert", "roberta", "vit", "clip", "chinese_clip", "siglip")
PAIRS = ("clip", "chinese_clip", "siglip")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, torch.nn.Module]]:
    made: dict[str, tuple[Path, torch.nn.Module]] = {}

    def get(kind: str) -> tuple[Path, torch.nn.Module]:
        if kind not in made:
            folder = tmp_path_factory.mktemp("published") / f"tiny-{kind}"
            made[kind] = (folder, make(kind, folder))
        return made[kind]

    return get


def photographs(count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (40 + 7 * n, 61 - 9 * n, 3), np.uint8) for n in range(count)]


def expect_close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    """Within ``tolerance`` x max(1, |theirs|)."""
    assert ours.shape == theirs.shape
    assert float(((ours - theirs).abs() / theirs.abs().clamp(min=1)).max()) < tolerance


def token_batch(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of different lengths, padded; ids behind the special tokens, and ending with the end token."""
    torch.manual_seed(3)
    lengths = [13, 1, 7, 12]
    ids = torch.randint(5, 300, (len(lengths), max(lengths)))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    if kind == "clip":
        ids[torch.arange(len(lengths)), mask.sum(1) - 1] = 310
    return ids.masked_fill(~mask, 1 if kind == "roberta" else 0), mask


def reference_texts(kind: str, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    if kind == "siglip":
        ids = F.pad(ids, (0, 16 - ids.shape[1]))
        return model.get_text_features(input_ids=ids).pooler_output
    if kind in {"bert", "roberta"}:
        states = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    found = model.get_text_features(input_ids=ids, attention_mask=mask.long())
    return found if isinstance(found, torch.Tensor) else found.pooler_output


def reference_pictures(kind: str, model: Any, pixels: torch.Tensor) -> torch.Tensor:
    if kind == "vit":
        return model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
    found = model.get_image_features(pixel_values=pixels, interpolate_pos_encoding=True)
    return found if isinstance(found, torch.Tensor) else found.pooler_output


@pytest.mark.parametrize(("kind_of_number", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "vit"])
@torch.no_grad()
def test_texts_get_the_numbers_of_the_reference(
    published: Callable[..., Any], kind: str, kind_of_number: torch.dtype, tolerance: float
) -> None:
    folder, reference = published(kind)
    ours = load(folder).model.to(kind_of_number)
    ids, mask = token_batch(kind)
    theirs = reference_texts(kind, reference.to(kind_of_number), ids, mask)
    reference.float()
    found = ours.encode_text(ids, mask) if kind in PAIRS else ours(ids, mask)
    expect_close(found, theirs, tolerance)


@pytest.mark.parametrize("side", [30, 42])
@pytest.mark.parametrize(("kind_of_number", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("kind", ["vit", *PAIRS])
@torch.no_grad()
def test_pictures_get_the_numbers_of_the_reference(
    published: Callable[..., Any], kind: str, kind_of_number: torch.dtype, tolerance: float, side: int
) -> None:
    folder, reference = published(kind)
    ours = load(folder).model.to(kind_of_number)
    torch.manual_seed(5)
    pixels = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8)
    trunk = ours.vit if kind == "vit" else ours.image
    theirs = reference_pictures(kind, reference.to(kind_of_number), trunk.normalise(pixels))
    reference.float()
    found = ours.vit(pixels)[0] if kind == "vit" else ours.encode_image(pixels)
    expect_close(found, theirs, tolerance)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_pixels_are_those_of_the_reference(published: Callable[..., Any], kind: str) -> None:
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

    folder, _ = published(kind)
    processor = (CLIPImageProcessorPil if kind == "clip" else SiglipImageProcessorPil).from_pretrained(folder)
    loaded = load(folder)
    prepare = Preprocessor(loaded.description)
    for pixels in photographs():
        theirs = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
        (part,) = prepare.prepare(item_of_value(Image.fromarray(pixels), Limits())).parts
        ours = loaded.model.image.normalise(torch.from_numpy(np.array(part.arrays["pixels"]))[None])[0]
        levels = (ours - theirs).abs() * torch.tensor(loaded.model.config.vision.std)[:, None, None]
        assert float(levels.max()) <= 1 / 255 + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_embeds_what_its_model_takes(published: Callable[..., Any], kind: str) -> None:
    model = chiasm.load(published(kind)[0])
    about = model.description
    values: list[Any] = (
        [Image.fromarray(pixels) for pixels in photographs()] if Modality.IMAGE in about.modalities else []
    )
    if Modality.TEXT in about.modalities:
        values += TEXTS
    together = model.embed(values)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for value, row in zip(values, together, strict=True):
        assert np.allclose(model.embed([value])[0], row, atol=1e-5), "company changes nothing"
    assert (about.licence, about.name) == ("apache-2.0", f"tiny-{kind}")
    with pytest.raises(InvalidInput, match="takes"):
        model.embed([chiasm.Audio(np.zeros(16_000, np.float32), 16_000)])


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_keeps_the_direction(published: Callable[..., Any], kind: str) -> None:
    full, half = (chiasm.load(published(kind)[0], precision=name) for name in ("float32", "bfloat16"))
    values: list[Any] = (
        list(TEXTS) if kind in {"bert", "roberta"} else [Image.fromarray(p) for p in photographs()]
    )
    cosines = (full.embed(values) * half.embed(values)).sum(axis=1)
    assert cosines.min() > 0.999
    assert (half.description.backend, half.description.revision) == (
        "torch-cpu-bfloat16", full.description.revision,
    )  # fmt: skip


def test_our_own_model_is_computed_in_full(tiny_checkpoint: Path) -> None:
    with pytest.raises(SettingsError, match="float32"):
        chiasm.load(tiny_checkpoint, precision="bfloat16")


def test_mixed_items_and_labels(published: Callable[..., Any]) -> None:
    model = chiasm.load(published("clip")[0])
    picture = Image.fromarray(photographs(1)[0])
    mixed, alone, words = model.embed([["red", picture], picture, "red"])
    assert np.allclose(mixed, (alone + words) / np.linalg.norm(alone + words), atol=1e-5)
    scores = model.classify(picture, ["red", "blue"])
    assert scores.sum() == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_the_openai_layout_gives_the_same_model(published: Callable[..., Any]) -> None:
    """Written from the other layout by the rules of the paper's own code, with maps packed and transposed."""
    folder, _ = published("clip")
    theirs = load_file(folder / "model.safetensors")
    from_openai, from_hugging_face = convert(openai_names(theirs)), convert(theirs)
    assert from_openai.keys() == from_hugging_face.keys()
    assert all(torch.equal(from_openai[name], tensor) for name, tensor in from_hugging_face.items())


@pytest.fixture
def copy(published: Callable[..., Any], tmp_path: Path) -> Callable[[str], Path]:
    def make_copy(kind: str) -> Path:
        return Path(shutil.copytree(published(kind)[0], tmp_path / kind))

    return make_copy


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("change_of_state", "named"),
    [
        (lambda state: state.pop("text_projection.weight"), "text_projection.weight"),
        (lambda state: state.update(surprise=torch.ones(2)), "surprise"),
        (
            lambda state: state.update({"visual_projection.weight": torch.ones(16, 31)}),
            "image_projection.weight",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    copy: Callable[[str], Path], change_of_state: Callable[[dict], object], named: str
) -> None:
    folder = copy("clip")
    state = load_file(folder / "model.safetensors")
    change_of_state(state)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert caught.value.param == named


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        ("bert", {"model_type": "gopher"}, "model_type"),
        ("bert", {"rotary_base": 10_000}, "rotary_base"),
        ("bert", {"hidden_act": "swish"}, "hidden_act"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"hidden_size": "24"}, "hidden_size"),
        ("vit", {"num_channels": 1}, "num_channels"),
    ],
)
def test_configurations_that_we_do_not_compute_are_refused(
    copy: Callable[[str], Path], kind: str, values: dict, named: str
) -> None:
    folder = copy(kind)
    change(folder / "config.json", **values)
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert caught.value.param == named


def test_another_model_s_tokenizer_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("clip")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["surplus"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="another model"):
        load(folder)


class Malice:
    ran = False

    def __reduce__(self) -> tuple:
        return (setattr, (Malice, "ran", True))


def test_pickles_of_tensors_are_read_and_others_never_run(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    expected = load(folder).model.state_dict()
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    found = load(folder).model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Malice()}, protocol=2))
    with pytest.raises(CheckpointError, match="tensors"):
        load(folder)
    torch.save({"x": Malice()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="tensors"):
        load(folder)
    assert not Malice.ran


def test_shards_are_put_together_and_lead_nowhere_else(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    expected = load(folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: state[name] for name in own}, folder / file)
    table = {name: file for file, own in parts.items() for name in own}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": table}))
    found = load(folder)
    assert found.model.state_dict().keys() == expected.model.state_dict().keys()
    index.write_text(json.dumps({"weight_map": {"x": "../../etc/passwd"}}))
    with pytest.raises(CheckpointError, match="file names"):
        load(folder)


def test_a_word_list_makes_a_tokenizer(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    (folder / "tokenizer.json").unlink()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "apple", "##s"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = Preprocessor(load(folder).description)
    (part,) = tokenizer.prepare(item_of_value("Red APPLES", Limits())).parts
    assert part.arrays["token_ids"].tolist() == [2, 5, 6, 7, 3]
    (folder / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match=r"vocab\.txt"):
        load(folder)


def test_poolings_of_sentence_transformers(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    (folder / "1_Pooling").mkdir()
    vectors = {}
    for name in ("mean_tokens", "cls_token", "max_tokens"):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{name}": True}))
        vectors[name] = chiasm.load(folder).embed(["a red apple"])
    assert not np.allclose(vectors["mean_tokens"], vectors["cls_token"])
    assert not np.allclose(vectors["mean_tokens"], vectors["max_tokens"])
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_weightedmean_tokens": True}))
    with pytest.raises(CheckpointError, match="1_Pooling"):
        load(folder)
