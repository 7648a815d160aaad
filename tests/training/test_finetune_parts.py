"""What fine-tuning is made of: lists of pairs, cuts, groups of weights, batches, recall."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from published_folders import make

from chiasm.checkpoints import load
from chiasm.errors import ChiasmError, DataError, InvalidInput, UnsupportedMedia
from chiasm.preprocess.config import ImagePreprocess
from chiasm.settings import Limits
from chiasm.training.finetune.config import FinetuneConfig
from chiasm.training.finetune.material import Material, corpus_of, split
from chiasm.training.finetune.pairs import Pair, read_pairs
from chiasm.training.finetune.pictures import PictureReader, random_box
from chiasm.training.finetune.stage import FinetuneStage
from chiasm.training.finetune.towers import Towers, parameter_groups
from chiasm.training.finetune.validation import recalls
from drawn_pairs import draw


def listed(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


JSON_LINES = """{"file_name": "a.png", "text": " one "}

{"file_name": "b/c.jpg", "text": "两"}"""


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("metadata.jsonl", JSON_LINES, "utf-8"),
        ("metadata.csv", 'file_name,text\na.png,one\n"b/c.jpg","两"\n', "utf-8-sig"),
        ("mine.csv", "text,file\none,a.png\n两,b/c.jpg\n", "utf-8"),
        ("mine.jsonl", JSON_LINES.replace("file_name", "file"), "utf-8-sig"),
    ],
)
def test_lists(name: str, text: str, encoding: str, tmp_path: Path) -> None:
    path = listed(tmp_path, name, text, encoding)
    found = read_pairs(tmp_path if name.startswith("metadata") else path, Limits())
    assert found.pairs == [Pair(tmp_path / "a.png", "one"), Pair(tmp_path / "b" / "c.jpg", "两")]


def test_pictures_with_texts_beside_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.JPG", "a.png", "deep/c.webp", "alone.png", "notes.md"):
        (tmp_path / name).touch()
    for name in ("a.txt", "b.txt", "deep/c.txt", "README.txt"):
        (tmp_path / name).write_text(f"\ufeffof {name}\n", encoding="utf-8")
    found = read_pairs(tmp_path, Limits())
    assert [(pair.file.name, pair.text) for pair in found.pairs] == [
        ("a.png", "of a.txt"), ("b.JPG", "of b.txt"), ("c.webp", "of deep/c.txt"),
    ]  # fmt: skip
    assert found.alone == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.jsonl", '{"file": "a.png", "caption": "x"}', r"m\.jsonl:1: expected the columns .*'caption'"),
        ("m.jsonl", '{"file": "a", "text": "x", "id": 1}', r"m\.jsonl:1: expected the columns .*'id'"),
        (
            "m.jsonl",
            '{"file": "a.png", "text": ["x"]}',
            r"m\.jsonl:1: expected the name of a file and a text",
        ),
        ("m.jsonl", '{"file": "a.png", "text": "x"}\n{', r"m\.jsonl:2: expected a line"),
        ("m.jsonl", "[" * 100_000, r"m\.jsonl:1: expected a line"),
        ("m.jsonl", "[1]", r"m\.jsonl:1: expected a line .* got: list"),
        ("m.jsonl", " " * (1 << 20) + "{}", r"m\.jsonl:1: .*more than 1048576 bytes"),
        ("m.csv", "file,text\na.png\n", r"m\.csv:2: .*1 values under 2 columns"),
        ("m.csv", "picture,text\na.png,x\n", r"m\.csv:2: expected the columns .*'picture'"),
        ("m.csv", 'file,text\na.png,"x\n', r"m\.csv:2: expected a line"),
        ("m.csv", "file,text\n", "expected pairs of a picture and a text"),
        ("m.tsv", "file\ttext\n", r"expected a list in \.jsonl or \.csv"),
    ],
)
def test_lists_that_cannot_be_read(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = listed(tmp_path, name, text)
    with pytest.raises(DataError, match=message):
        read_pairs(path, Limits(), skip_bad=True)


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing, which does not exist"):
        read_pairs(tmp_path / "nothing", Limits())
    with pytest.raises(DataError, match="got none: neither"):
        read_pairs(tmp_path, Limits())
    for name in ("metadata.jsonl", "metadata.csv"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="got both"):
        read_pairs(tmp_path, Limits())
    (tmp_path / "gbk.csv").write_bytes("file,text\na.png,苹果\n".encode("gbk"))
    with pytest.raises(DataError, match=r"gbk\.csv:2: .*not UTF-8"):
        read_pairs(tmp_path / "gbk.csv", Limits())


@pytest.mark.parametrize(
    ("text", "message"),
    [(" ", "got an empty one"), ("x" * 21, "at most 20 characters"), ("\ud800", "lone surrogate")],
)
def test_a_text_that_cannot_be_used_is_named_or_skipped(text: str, message: str, tmp_path: Path) -> None:
    rows = [{"file": "a.png", "text": "fine"}, {"file": "b.png", "text": text}]
    path = listed(tmp_path, "m.jsonl", "\n".join(map(json.dumps, rows)))
    limits = Limits(text_chars=20)
    with pytest.raises(ChiasmError, match=rf"m\.jsonl:2: .*{message}"):
        read_pairs(path, limits)
    found = read_pairs(path, limits, skip_bad=True)
    assert [pair.text for pair in found.pairs] == ["fine"]
    assert [bad.name for bad in found.refused] == ["m.jsonl:2"]
    assert message in found.refused[0].en


def test_an_empty_text_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(InvalidInput, match=r"a\.txt: expected a text, got an empty one"):
        read_pairs(tmp_path, Limits())
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(UnsupportedMedia, match=r"a\.txt: expected a file, got 0 bytes"):
        read_pairs(tmp_path, Limits())


def test_a_picture_is_held_out_with_all_its_texts() -> None:
    own = [Pair(Path(f"{n}.png"), f"{word} {n}") for n in range(20) for word in ("one", "two")]
    corpus = corpus_of(own, [])
    learn, check = split(corpus, [3], 0.25, 7)
    held = set(check[:, 0])
    assert len(held) == 5
    assert held.isdisjoint(learn[:, 0])
    assert 3 not in held | set(learn[:, 0])
    assert len(learn) + len(check) == 38
    assert not np.array_equal(check, split(corpus, [3], 0.25, 8)[1])


def test_random_boxes_lie_within_and_have_the_area_that_is_asked_for() -> None:
    rng = np.random.default_rng(1)
    boxes = [random_box(60, 40, 0.5, rng) for _ in range(200)]
    shares, ratios = [], []
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 60
        assert 0 <= top < bottom <= 40
        shares.append((right - left) * (bottom - top) / 2400)
        ratios.append((right - left) / (bottom - top))
    whole = [box == (0, 0, 60, 40) for box in boxes]
    assert min(shares) > 0.47
    assert np.mean(whole) < 0.2
    assert all(0.7 < ratio < 1.4 for ratio, all_of_it in zip(ratios, whole, strict=True) if not all_of_it)
    assert len(set(boxes)) > 150


def test_cuts_are_those_of_their_seeds(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    draw("red", "circle", np.random.default_rng(0)).save(file)
    config = ImagePreprocess(side=30, fit="shortest", trim=False)
    with ThreadPoolExecutor(2) as pool:
        reader = PictureReader(config, Limits(), pool, crop=0.3)
        first = reader.read_all([file, file], [(1, 2), (1, 3)])
        assert first.shape == (2, 30, 30, 3)
        assert not np.array_equal(first[0], first[1])
        assert np.array_equal(first, reader.read_all([file, file], [(1, 2), (1, 3)]))
        plain = PictureReader(config, Limits(), pool)
        assert np.array_equal(plain.read_all([file], [(1, 2)])[0], plain.read(file))


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Towers:
    folder = tmp_path_factory.mktemp("clip")
    make("clip", folder)
    return Towers(load(folder)[0], "all")  # type: ignore[arg-type]


def test_only_matrices_decay(towers: Towers) -> None:
    decaying, others = parameter_groups(towers, 0.3)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    names = {id(parameter): name for name, parameter in towers.named_parameters()}
    left = {names[id(parameter)] for parameter in others["params"]}  # type: ignore[attr-defined]
    assert {"clip.logit_scale", "clip.image.class_token", "clip.image.first_norm.weight"} <= left
    assert all(name.endswith("bias") or "norm" in name or name.count(".") <= 2 for name in left)
    assert len(left) + len(decaying["params"]) == len(names)  # type: ignore[arg-type]


def stage(towers: Towers, pairs: list[tuple[int, int]], **config: int) -> FinetuneStage:
    with ThreadPoolExecutor(1) as pool:
        reader = PictureReader(ImagePreprocess(), Limits(), pool)
    rows = np.asarray(pairs)
    kept = np.zeros((rows.max() + 1, 4), np.float32)
    return FinetuneStage(
        towers,
        Material([], [], rows, rows[:0]),
        reader,
        FinetuneConfig(**config),
        images=kept,  # type: ignore[arg-type]
        texts=kept,  # type: ignore[arg-type]
        precision=lambda: torch.autocast("cpu", enabled=False),
    )


def test_an_epoch_shows_every_pair_once_in_an_order_of_its_own(
    towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(towers, [(n, n) for n in range(11)], batch=3, epochs=2)
    assert (made.per_epoch, made.steps) == (3, 6)
    asked: list[list[int]] = []
    monkeypatch.setattr(made, "_words", lambda rows: asked.append(rows.tolist()) or torch.zeros(3, 4))
    for step in range(6):
        made.batch(step)
    first, second = asked[:3], asked[3:]
    assert len({row for rows in first for row in rows}) == 9
    assert len({row for rows in second for row in rows}) == 9
    assert first != second
    made.batch(1)
    assert asked[-1] == asked[1]
    assert stage(towers, [(0, 0), (1, 1)], batch=64).per_epoch == 1


def test_pairs_with_a_picture_or_a_text_in_common_are_marked(towers: Towers) -> None:
    made = stage(towers, [(0, 0), (1, 0), (2, 1), (2, 2)], batch=4)
    order = np.random.default_rng((0, 0, 0)).permutation(4)
    same = made.batch(0).same[np.argsort(order)][:, np.argsort(order)]
    assert same.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, True],
        [False, False, True, True],
    ]


def test_a_clip_s_scale_stays_at_most_100(towers: Towers) -> None:
    with torch.no_grad():
        towers.clip.logit_scale.fill_(9.0)
    same = torch.eye(2, dtype=torch.bool)
    loss = towers.loss(torch.eye(2, 16), torch.eye(2, 16), same)
    assert towers.clip.logit_scale.item() == pytest.approx(math.log(100))
    assert loss.item() < 1e-6
    twins = towers.loss(torch.ones(2, 16), torch.ones(2, 16), torch.ones(2, 2, dtype=torch.bool))
    assert twins.item() == 0.0


def test_recall_counts_every_right_one_and_ties_against_the_model() -> None:
    images = np.eye(6, dtype=np.float32)
    texts = np.concatenate([np.eye(6, dtype=np.float32), np.eye(6, dtype=np.float32)[[1]]])
    pairs = [(n, n) for n in range(6)]
    assert recalls(images, texts, [*pairs, (1, 6)]) == {
        "image_to_text_r1": 1.0, "image_to_text_r5": 1.0, "text_to_image_r1": 1.0, "text_to_image_r5": 1.0,
    }  # fmt: skip
    turned = recalls(np.roll(images, 1, axis=0), texts[:6], pairs)
    assert turned["image_to_text_r1"] == turned["text_to_image_r1"] == 0.0
    same = recalls(np.ones_like(images), texts[:6], pairs)
    assert set(same.values()) == {0.0}
