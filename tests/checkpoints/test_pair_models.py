"""METER and UniT from folders of ours: the same numbers, what they say of real pictures, what is refused."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))

from seeded import state

import chiasm
from chiasm.checkpoints import Loaded, load
from chiasm.checkpoints.meter import import_meter, save_meter
from chiasm.checkpoints.own import Preparation
from chiasm.checkpoints.unit import import_unit, save_unit
from chiasm.errors import CheckpointError, ChiasmError, InvalidInput
from chiasm.inference import optimise
from chiasm.media import item_of_value
from chiasm.models.bert.config import BertConfig
from chiasm.models.meter.config import MeterConfig, MeterHeadsConfig
from chiasm.models.meter.heads import HeadedMeter
from chiasm.models.meter.import_weights import convert as convert_meter
from chiasm.models.unit.config import PUBLISHED_TASKS, ResNetConfig, TaskConfig, UnitConfig
from chiasm.models.unit.import_weights import convert as convert_unit
from chiasm.models.unit.model import Unit
from chiasm.preprocess import PreprocessConfig, Preprocessor
from chiasm.preprocess.config import ImagePreprocess, TextPreprocess
from chiasm.preprocess.prepared import PreparedItem, PreparedPart
from chiasm.settings import Limits
from chiasm.tasks.pairs import answer_items, detect_items, match_items

GOLDEN = Path(__file__).parents[1] / "golden"
WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "red", "blue", "apple", "car", "cat", "table", "on"),
    *("in", "is", "what", "where", "there", "how", "many"),
)
ANSWERS = ("yes", "no", "two", "red", "猫")
TEXT = BertConfig(vocabulary=24, positions=9, token_types=1, width=64, depth=2, heads=4, hidden=80)
METER = MeterConfig(
    vision=replace(MeterConfig().vision, side=16, patch=8, width=64, depth=2, heads=4, hidden=80),
    text=TEXT, width=64, heads=4, hidden=96, depth=2, decoder_depth=1, types=3,
)  # fmt: skip
METER_HEADS = MeterHeadsConfig(
    words=True, matching=True, ranking=True, answers=ANSWERS, verdicts=("False", "True"),
    entailment=("no", "maybe", "yes"),
)  # fmt: skip
TASKS = (
    TaskConfig(
        name="objects", kind="detection", modalities=("picture",), queries=7, classes=3,
        labels=("cat", "dog", "车"),
    ),
    TaskConfig(
        name="sought", kind="detection", modalities=("picture", "text"), queries=4, classes=2, attributes=3
    ),
    TaskConfig(
        name="questions", kind="classification", modalities=("picture", "text"), queries=3, classes=5,
        labels=ANSWERS, several=True,
    ),
    TaskConfig(name="mood", kind="classification", modalities=("text",), queries=2, classes=2, text="first"),
)  # fmt: skip
UNIT = UnitConfig(
    tasks=TASKS,
    resnet=ResNetConfig(stem=8, depths=(1, 1), widths=(16, 32)),
    text=TEXT, encoder_width=64, encoder_depth=1, width=64, depth=2, heads=4, hidden=80,
)  # fmt: skip
SQUARE = ImagePreprocess(side=24, fit="shortest", trim=False)
WHOLE = ImagePreprocess(side=24, fit="bounded", longest=40, trim=False, filter="bilinear")


def tokenizer() -> bytes:
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made.to_str().encode()


def preparation(image: ImagePreprocess, tokens: int = 9) -> Preparation:
    numbers = PreprocessConfig(text=TextPreprocess(max_tokens=tokens), image=image)
    return Preparation(preprocess=numbers, tokenizer=tokenizer(), licence="MIT", languages=("en", "zh"))


def shaken(model: nn.Module) -> Any:
    """Weights of which none is 0 or 1."""
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=g))
    return model.eval().requires_grad_(False)


def a_meter(**changes: object) -> HeadedMeter:
    torch.manual_seed(1)
    made: HeadedMeter = shaken(HeadedMeter(replace(METER, **changes), METER_HEADS))
    return made


def a_unit(**changes: object) -> Unit:
    torch.manual_seed(2)
    made: Unit = shaken(Unit(replace(UNIT, **changes)))
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    save_meter(folder / "meter", a_meter(), preparation(SQUARE))
    save_unit(folder / "unit", a_unit(), preparation(WHOLE))
    return folder


@pytest.fixture
def folders(written: Path, tmp_path: Path) -> dict[str, Path]:
    return {kind: copytree(written / kind, tmp_path / kind) for kind in ("meter", "unit")}


@pytest.fixture
def meter(folders: dict[str, Path]) -> Path:
    return folders["meter"]


@pytest.fixture
def unit(folders: dict[str, Path]) -> Path:
    return folders["unit"]


def png(width: int, height: int, seed: int = 3) -> bytes:
    drawn = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    into = io.BytesIO()
    Pillow.fromarray(drawn).save(into, "PNG")
    return into.getvalue()


SIZES = ((50, 71), (90, 40), (33, 33), (71, 50), (90, 40))
ASKED = ("what is on the table", "is there a cat", "car", "the red apple is on the blue car", "how many")


def prepared(found: Loaded, *values: object) -> list[PreparedItem]:
    prepare = Preprocessor(found.description).prepare
    return [prepare(item_of_value(value, Limits())) for value in values]


def pairs(found: Loaded) -> tuple[list[PreparedPart], list[PreparedPart]]:
    pictures = prepared(found, *(png(*size, seed=n) for n, size in enumerate(SIZES)))
    return [item.parts[0] for item in pictures], [item.parts[0] for item in prepared(found, *ASKED)]


def same_weights(ours: nn.Module, read: nn.Module) -> None:
    expected, found = ours.state_dict(), read.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes", [{}, {"fusion": "merged"}, {"kind": "encoder-decoder"}], ids=["co", "merged", "writes"]
)
def test_a_meter_comes_back_as_it_was(changes: dict[str, object], tmp_path: Path) -> None:
    ours, prepare = a_meter(**changes), preparation(SQUARE)
    save_meter(tmp_path / "new" / "mine", ours, prepare)
    found = load(tmp_path / "new" / "mine")
    assert isinstance(found.model, HeadedMeter)
    assert (found.model.config, found.model.heads) == (ours.config, METER_HEADS)
    same_weights(ours, found.model)
    about = found.description
    assert (about.name, about.licence, about.languages) == ("mine", "MIT", ("en", "zh"))
    assert about.capabilities == ("match", "answer", "compare", "fill")
    assert [m.value for m in about.modalities] == ["text", "image"]
    assert (about.context_length, about.preprocess) == (9, prepare.preprocess)
    pictures, texts = pairs(found)
    torch.testing.assert_close(found.model.score(pictures, texts), ours.score(pictures, texts))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]


def test_a_meter_judges_and_answers_pairs_in_their_order(meter: Path) -> None:
    found = load(meter)
    model = found.model
    assert isinstance(model, HeadedMeter)
    pictures, texts = pairs(found)
    scores = model.score(pictures, texts)
    alone = [model.score([p], [t])[0] for p, t in zip(pictures, texts, strict=True)]
    torch.testing.assert_close(scores, torch.stack(alone), atol=1e-5, rtol=1e-5)
    assert len({round(float(score), 4) for score in scores}) == len(SIZES)
    together = model.answer(pictures, texts, top_k=9)
    single = model.answer(pictures[:1], texts[:1], top_k=2)[0]
    assert {one.text for one in together[0]} == set(ANSWERS)
    assert [one.text for one in single] == [one.text for one in together[0][:2]]
    both = model.compare([pictures, pictures[::-1]], texts)
    torch.testing.assert_close(both.sum(dim=1), torch.ones(len(texts)))
    with pytest.raises(InvalidInput, match="expected 5 pictures, got 2"):
        model.score(pictures[:2], texts)
    with pytest.raises(InvalidInput, match="expected 2 pictures for each text, got 1"):
        model.compare([pictures], texts)


def test_without_a_ranking_the_score_is_the_match(tmp_path: Path) -> None:
    torch.manual_seed(4)
    save_meter(
        tmp_path / "m", shaken(HeadedMeter(METER, MeterHeadsConfig(matching=True))), preparation(SQUARE)
    )
    found = load(tmp_path / "m")
    assert found.description.capabilities == ("match",)
    assert isinstance(found.model, HeadedMeter)
    items = prepared(found, png(40, 30), "a red apple", "the blue car")
    _, (probabilities,) = match_items(found.model, items, {})
    ids = torch.from_numpy(np.stack([item.parts[0].arrays["token_ids"] for item in items[1:]])).long()
    pixels = torch.tensor(items[0].parts[0].arrays["pixels"]).expand(2, -1, -1, -1)
    logits = found.model.match_logits(found.model.meter.vector(pixels, ids))
    np.testing.assert_allclose(probabilities, logits.softmax(dim=-1)[:, 1].numpy(), rtol=1e-5)
    with pytest.raises(InvalidInput, match="a METER with a head for answers"):
        answer_items(found.model, items[:2], {"top_k": 3})


@pytest.mark.parametrize("changes", [{}, {"shared": False}, {"task_tokens": False, "residual": False}])
def test_a_unit_comes_back_as_it_was(changes: dict[str, object], tmp_path: Path) -> None:
    ours = a_unit(**changes)
    save_unit(tmp_path / "mine", ours, preparation(WHOLE))
    found = load(tmp_path / "mine")
    assert isinstance(found.model, Unit)
    assert found.model.config == ours.config
    same_weights(ours, found.model)
    assert found.description.capabilities == ("answer", "detect")
    pictures, texts = pairs(found)
    ours_say, theirs_say = (model.answer(pictures, texts, 3) for model in (ours, found.model))
    for one, other in zip(ours_say, theirs_say, strict=True):
        assert [a.text for a in one] == [a.text for a in other]
        np.testing.assert_allclose([a.probability for a in one], [a.probability for a in other], atol=1e-6)


def test_a_unit_answers_whatever_else_is_in_the_batch(unit: Path) -> None:
    found = load(unit)
    assert isinstance(found.model, Unit)
    pictures, texts = pairs(found)
    assert len({part.arrays["pixels"].shape for part in pictures}) > 2
    together = found.model.answer(pictures, texts, top_k=5)
    alone = [found.model.answer([p], [t], top_k=5)[0] for p, t in zip(pictures, texts, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert {a.text for a in one} == set(ANSWERS)
        assert dict(one) == pytest.approx(dict(other), abs=1e-5)


def test_a_unit_finds_objects_with_names_and_places(unit: Path) -> None:
    found = load(unit)
    model = found.model
    assert isinstance(model, Unit)
    (picture,), (text,) = (item.parts for item in prepared(found, png(90, 40), "a cat"))
    everything = model.detect(picture, least=0.0)
    assert len(everything) == 7
    probabilities = [one.probability for one in everything]
    assert probabilities == sorted(probabilities, reverse=True)
    states = model("objects", torch.tensor(picture.arrays["pixels"])[None])
    scores, labels = model.detections(states).logits_bqc.softmax(dim=-1)[0, :, :-1].max(dim=-1)
    best = int(scores.argmax())
    x, y, width, height = model.detections(states).boxes_bq4[0, best].tolist()
    expected = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    assert everything[0].label == TASKS[0].labels[int(labels[best])]
    assert everything[0].box == pytest.approx([min(1.0, max(0.0, side)) for side in expected])
    assert model.detect(picture, least=probabilities[2])[-1] == everything[2]
    sought = model.detect(picture, text, least=0.0)
    assert {one.label for one in sought} <= {"0", "1"}
    assert len(sought) == 4


def test_tasks_by_name(unit: Path, meter: Path) -> None:
    found = load(unit)
    items = prepared(found, png(60, 60), "where is the cat")
    about, arrays = detect_items(found.model, items[:1], {"threshold": 0.0})
    assert arrays == []
    label, probability, box = about["objects"][0]
    assert label in TASKS[0].labels
    assert 0 < probability < 1
    assert len(box) == 4
    assert len(detect_items(found.model, items, {"threshold": 0.0})[0]["objects"]) == 4
    answers = answer_items(found.model, items, {"top_k": 2})[0]["answers"]
    assert [text in ANSWERS for text, _ in answers] == [True, True]
    with pytest.raises(InvalidInput, match="expected a picture, got text"):
        detect_items(found.model, items[1:], {"threshold": 0.5})
    with pytest.raises(InvalidInput, match="expected a model that judges pairs"):
        match_items(found.model, items, {})
    with pytest.raises(InvalidInput, match="expected a model that detects objects"):
        detect_items(load(meter).model, items[:1], {"threshold": 0.5})


def test_a_unit_without_such_a_task_says_so(tmp_path: Path) -> None:
    torch.manual_seed(3)
    only = shaken(Unit(replace(UNIT, tasks=TASKS[3:])))
    save_unit(tmp_path / "mood", only, preparation(replace(WHOLE, trim=True)))
    found = load(tmp_path / "mood")
    assert [m.value for m in found.description.modalities] == ["text"]
    assert found.description.capabilities == ()
    part = prepared(found, "a cat")[0].parts[0]
    with pytest.raises(InvalidInput, match="a task of detection about pictures alone, got one without"):
        found.model.detect(part)  # type: ignore[union-attr]
    with pytest.raises(InvalidInput, match="a task of classification about pictures and texts"):
        found.model.answer([part], [part])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("make", "write", "image"), [(a_meter, save_meter, SQUARE), (a_unit, save_unit, WHOLE)]
)
def test_packed_for_inference_they_say_the_same_and_are_not_saved(
    make: Callable[[], nn.Module], write: Callable[..., None], image: ImagePreprocess, tmp_path: Path
) -> None:
    write(tmp_path / "m", make(), preparation(image))
    found = load(tmp_path / "m")
    pictures, texts = pairs(found)
    before = found.model.answer(pictures, texts)  # type: ignore[union-attr]
    optimise(found.model)
    after = found.model.answer(pictures, texts)  # type: ignore[union-attr]
    for one, other in zip(before, after, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-4)
    with pytest.raises(CheckpointError, match="packed for inference"):
        write(tmp_path / "again", found.model, preparation(image))
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("kind", ["meter", "unit"])
def test_in_half_the_precision_they_say_nearly_the_same(kind: str, folders: dict[str, Path]) -> None:
    folder = folders[kind]
    found, half = load(folder), load(folder, precision="bfloat16")
    assert half.description.backend == "torch-cpu-bfloat16"
    pictures, texts = pairs(found)
    exact = found.model.answer(pictures, texts)  # type: ignore[union-attr]
    rough = half.model.answer(pictures, texts)  # type: ignore[union-attr]
    for one, other in zip(exact, rough, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=0.05)


def test_the_one_loader_serves_them(meter: Path) -> None:
    model = chiasm.load(meter)
    (matched,) = model.match("a red apple", [png(40, 30)])
    assert 0 < matched < 1
    assert {text for text, _ in model.answer(png(40, 30), "is there a cat")} == set(ANSWERS)
    with pytest.raises(ChiasmError, match="expected a model that gives vectors"):
        model.embed(["a cat"])


def change(folder: Path, name: str, *keys: str, value: object) -> None:
    """Set what lies under these keys; None takes it away."""
    tables = json.loads((folder / name).read_text())
    table = tables
    for key in keys[:-1]:
        table = table[int(key) if isinstance(table, list) else key]
    if value is None:
        del table[keys[-1]]
    else:
        table[keys[-1]] = value
    (folder / name).write_text(json.dumps(tables))


@pytest.mark.parametrize(
    ("kind", "keys", "value", "named"),
    [
        ("meter", ("model_type",), ["chiasm-meter"], "expected the manifest of a chiasm checkpoint"),
        ("meter", ("model_type",), "chiasm-metre", "model_type: expected a family"),
        ("meter", ("surprise",), 1, "expected the keys .* 'surprise'"),
        ("meter", ("heads",), None, r"expected the keys \['heads', 'model', 'model_type'\]"),
        ("meter", ("model", "surprise"), 1, r"MeterConfig\.surprise"),
        ("meter", ("model", "vision", "patches"), 1, r"VitConfig\.patches"),
        ("meter", ("model", "width"), "64", r"MeterConfig\.width: expected int, got '64'"),
        ("meter", ("model", "fusion"), "late", r"MeterConfig\.fusion: expected one of \['co', 'merged'\]"),
        ("meter", ("model", "types"), 1, "config.json: expected at least 2 types"),
        ("meter", ("model", "heads"), 0, "config.json"),
        ("meter", ("model", "heads"), 7, "config.json"),
        ("meter", ("model", "depth"), 100_000, r"MeterConfig\.depth: expected a number in \[0, 256\]"),
        ("meter", ("model", "hidden"), -4, r"MeterConfig\.hidden: expected a number in"),
        ("meter", ("model", "hidden"), 95, r"feed_forward\.\w+\.\w+: expected \[.*95"),
        ("meter", ("heads", "answers"), "yes", r"MeterHeadsConfig\.answers: expected a list, got 'yes'"),
        ("meter", ("heads", "answers"), ["yes"], r"answers\.contract\.\w+: expected \[1"),
        ("meter", ("heads", "ranking"), False, "ranking"),
        ("unit", ("model", "tasks"), [], "config.json: expected tasks of different names"),
        ("unit", ("model", "tasks", "0", "kind"), "guess", r"TaskConfig\.kind"),
        ("unit", ("model", "tasks", "0", "classes"), None, r"TaskConfig\.classes: expected a value"),
        ("unit", ("model", "tasks", "0", "labels"), ["cat"], "expected 3 labels of 'objects', got 1"),
        (
            "unit",
            ("model", "resnet", "depths"),
            [1, 10_000],
            r"UnitConfig\.resnet\.depths: expected a",
        ),
        ("unit", ("model", "resnet", "mean"), [0.5], r"ResNetConfig\.mean: expected 3 values"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_name(
    kind: str, keys: tuple[str, ...], value: object, named: str, folders: dict[str, Path]
) -> None:
    folder = folders[kind]
    change(folder, "config.json", *keys, value=value)
    with pytest.raises(CheckpointError, match=named):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "keys", "value", "named"),
    [
        ("meter", ("text", "max_tokens"), 10, "preprocess.json: expected at most 9 tokens, got 10"),
        ("meter", ("image", "fit"), "bounded", "expected squares .*, got bounded of 24"),
        ("meter", ("image", "side"), 20, "multiple of 8 pixels, got shortest of 20"),
        ("meter", ("image", "surprise"), 20, r"ImagePreprocess\.surprise"),
        ("unit", ("image", "trim"), True, "expected whole pictures .*, got bounded, trim True"),
        ("unit", ("image", "fit"), "crop", "expected whole pictures .*, got crop"),
    ],
)
def test_a_preparation_that_does_not_fit_is_refused(
    kind: str, keys: tuple[str, ...], value: object, named: str, folders: dict[str, Path]
) -> None:
    folder = folders[kind]
    if value == "bounded":
        change(folder, "preprocess.json", "image", "longest", value=40)
    change(folder, "preprocess.json", *keys, value=value)
    with pytest.raises(CheckpointError, match=named):
        load(folder)


def test_tensors_and_files_that_are_missing_or_strange_are_named(meter: Path, unit: Path) -> None:
    path = meter / "model.safetensors"
    whole = load_file(path)
    lost = "meter.fusion.text.1.cross.key.bias"
    save_file({name: tensor for name, tensor in whole.items() if name != lost}, path)
    with pytest.raises(CheckpointError, match=lost):
        load(meter)
    save_file({**whole, "spare": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="got spare too"):
        load(meter)
    save_file({**whole, lost: torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=rf"{lost}: expected \[64\], got \[3\]"):
        load(meter)
    path.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: expected a file of tensors"):
        load(meter)
    for name in ("preprocess.json", "tokenizer.json"):
        (unit / name).rename(unit / "hidden")
        with pytest.raises(CheckpointError, match=f"{name}: expected this file"):
            load(unit)
        (unit / "hidden").rename(unit / name)
    (unit / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="expected a tokenizer"):
        load(unit)


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    model = a_meter()
    small = shaken(HeadedMeter(replace(METER, text=replace(TEXT, vocabulary=12)), METER_HEADS))
    with pytest.raises(CheckpointError, match="expected ids below 12, got 19"):
        save_meter(tmp_path / "m", small, preparation(SQUARE))
    with pytest.raises(CheckpointError, match="expected squares"):
        save_meter(tmp_path / "m", model, preparation(WHOLE))
    with torch.no_grad():
        model.meter.text_map.weight[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"meter\.text_map\.weight: expected finite values"):
        save_meter(tmp_path / "m", model, preparation(SQUARE))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="expected a new or an empty folder"):
        save_meter(tmp_path / "m", a_meter(), preparation(SQUARE))


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def test_a_released_meter_becomes_a_folder(tmp_path: Path) -> None:
    weights = state((name, shape) for name, shape in golden("meter")["shapes"])
    torch.save({"state_dict": weights, "epoch": 9, "hyper_parameters": {"rate": 1e-5}}, tmp_path / "a.ckpt")
    shape = MeterConfig(
        vision=replace(MeterConfig().vision, side=99, patch=4, width=128, depth=2, heads=2, hidden=512),
        text=BertConfig(
            vocabulary=30, positions=9, token_types=1, width=20, depth=2, heads=2, hidden=28, epsilon=1e-5
        ),
        width=24, heads=3, hidden=48, depth=3, types=3,
    )  # fmt: skip
    import_meter(
        tmp_path / "a.ckpt",
        tmp_path / "made",
        tokenizer=tokenizer(),
        config=shape,
        names={"answers": tuple("abcdefg"), "verdicts": ("no", "yes")},
        licence="MIT",
    )
    found = load(tmp_path / "made")
    assert isinstance(found.model, HeadedMeter)
    assert found.model.config.vision.side == found.description.preprocess.image.side == 12
    assert found.model.heads == MeterHeadsConfig(
        words=True, matching=True, ranking=True, answers=tuple("abcdefg"), verdicts=("no", "yes"),
        entailment=("0", "1", "2"),
    )  # fmt: skip
    ours = convert_meter(weights)
    for name, tensor in found.model.state_dict().items():
        torch.testing.assert_close(tensor, ours[name], rtol=0, atol=0)
    pictures, texts = pairs(found)
    assert len(found.model.answer(pictures, texts, 3)) == len(texts)
    for sizes, named in (({"width": 32}, "expected"), ({"depth": 2}, r"fusion\.\w+\.2")):
        with pytest.raises(CheckpointError, match=named):
            import_meter(
                tmp_path / "a.ckpt", tmp_path / "b", tokenizer=tokenizer(), config=replace(shape, **sizes)
            )
    assert not (tmp_path / "b").exists()


def test_a_released_unit_becomes_a_folder(tmp_path: Path) -> None:
    weights = state((name, shape) for name, shape in golden("unit")["shared"]["shapes"])
    torch.save({"model": weights, "best_iteration": 100}, tmp_path / "unit.pth")
    classes = {"detection_coco": 5, "vqa2": 7}
    kept = [task for task in PUBLISHED_TASKS if task.name in classes]
    shape = UnitConfig(
        tasks=tuple(
            replace(task, queries=6 if task.kind == "detection" else 3, classes=classes[task.name])
            for task in kept
        ),
        resnet=ResNetConfig(depths=(1, 2, 1, 2), widths=(64, 128, 256, 512)),
        text=BertConfig(vocabulary=30, positions=11, width=20, depth=2, heads=2, hidden=28),
        encoder_width=16, encoder_depth=2, width=24, depth=2, heads=2, hidden=20,
    )  # fmt: skip
    import_unit(tmp_path / "unit.pth", tmp_path / "made", config=shape, tokenizer=tokenizer())
    found = load(tmp_path / "made")
    assert isinstance(found.model, Unit)
    assert found.description.capabilities == ("answer", "detect")
    image = found.description.preprocess.image
    assert (image.side, image.longest, image.fit, image.filter) == (800, 1333, "bounded", "bilinear")
    ours = convert_unit(weights, shape)
    for name, tensor in found.model.state_dict().items():
        torch.testing.assert_close(tensor, ours[name], rtol=0, atol=0)


def test_nothing_but_tensors_is_read_of_a_checkpoint(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callback": Path("anything")}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt: expected a file of tensors"):
        import_meter(tmp_path / "a.ckpt", tmp_path / "made", tokenizer=tokenizer())
    torch.save({"state_dict": {"epoch": 3}}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt: expected a table of tensors"):
        import_meter(tmp_path / "a.ckpt", tmp_path / "made", tokenizer=tokenizer())
    with pytest.raises(CheckpointError, match=r"none\.ckpt: expected a file of tensors"):
        import_unit(tmp_path / "none.ckpt", tmp_path / "made", tokenizer=tokenizer())
