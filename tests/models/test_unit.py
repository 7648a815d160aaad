"""UniT: the numbers of the paper's own code, and finding objects, learnt."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cross_modal import TEXT
from seeded import state, values
from torch import Tensor, nn

from chiasm.errors import CheckpointError
from chiasm.models.bert.config import BertConfig
from chiasm.models.unit.config import PUBLISHED_TASKS, ResNetConfig, TaskConfig, UnitConfig
from chiasm.models.unit.encoder import cells, sine_positions
from chiasm.models.unit.import_weights import TASK_ROWS, convert
from chiasm.models.unit.model import Unit, UnitStates
from chiasm.models.unit.resnet import FrozenConv
from chiasm.nn.losses.detection import Objects, SetWeights, iou, match, set_losses, to_corners
from chiasm.nn.recorder import record
from chiasm.preprocess.places import Place

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "unit.json").read_text())
PRECISIONS = [(torch.float64, 1e-9), (torch.float32, 1e-5)]
SIZES = [tuple(size) for size in GOLDEN["sizes"]]
CLASSES = {
    "detection_coco": 5,
    "detection_visual_genome": 6,
    "vqa2": 7,
    "visual_entailment": 3,
    "glue_sst2": 2,
}


def tasks(names: list[str]) -> tuple[TaskConfig, ...]:
    """The published ones with fewer queries and classes."""
    return tuple(
        replace(
            task,
            queries=6 if task.kind == "detection" else 3,
            classes=CLASSES[task.name],
            attributes=min(task.attributes, 4),
        )
        for task in PUBLISHED_TASKS
        if task.name in names
    )


def shape(kind: str) -> UnitConfig:
    plain = kind == "plain"
    return UnitConfig(
        tasks=tasks(list(GOLDEN[kind]["tasks"])),
        resnet=ResNetConfig(depths=(1, 2, 1, 2), widths=(64, 128, 256, 512), dilated=not plain),
        text=BertConfig(vocabulary=30, positions=11, width=20, depth=2, heads=2, hidden=28),
        encoder_width=24 if plain else 16,
        encoder_depth=2,
        width=24,
        depth=2,
        heads=2,
        hidden=20,
        shared=not plain,
        task_tokens=not plain,
        residual=not plain,
    )


def released(kind: str) -> dict[str, Tensor]:
    """Seeded weights, with all that a checkpoint holds twice or for its losses."""
    made = {n: x.double() for n, x in state((n, s) for n, s in GOLDEN[kind]["shapes"]).items()}
    base = "unit_base_model.transformer."
    for name, x in dict(made).items():
        if name.startswith(f"{base}decoder."):
            made[name.replace(f"{base}decoder.", f"{base}decoders.vl.vqa2.")] = x
        if name.startswith("bert_model.module.embeddings."):
            made[name.replace("module.", "")] = x
    made["det_losses.detection_coco.empty_weight"] = torch.ones(6)
    return {name.replace("unit_base_model", "detr_model"): x for name, x in made.items()}


def reference(kind: str, precision: torch.dtype = torch.float64) -> Unit:
    model = Unit(shape(kind)).double()
    model.load_state_dict(convert(released(kind), model.config))
    return model.to(precision).eval()


def pictures() -> Tensor:
    """uint8 ``[2, h, w, 3]``; what is no picture is white, and must not be seen."""
    height, width = (max(size[axis] for size in SIZES) for axis in (0, 1))
    pixels = torch.full((2, height, width, 3), 255, dtype=torch.uint8)
    for n, (h, w) in enumerate(SIZES):
        drawn = np.random.RandomState(n).randint(0, 256, (h, w, 3)).astype(np.uint8)
        pixels[n, :h, :w] = torch.from_numpy(drawn)
    return pixels


def objects(task: str) -> list[Objects]:
    found = []
    for n, count in enumerate({"detection_coco": (3, 1), "detection_visual_genome": (0, 2)}[task]):
        boxes = values(f"{task} {n}", (count, 4)).double().sigmoid() * 0.5 + 0.1
        attributes = torch.full((count, 16), -1)
        for i in range(count - 1):
            attributes[i, : i + 2] = torch.arange(i + 2)
        found.append(Objects(torch.arange(count) * 2 % CLASSES[task], boxes, attributes))
    return found


def asked(model: Unit, task: str) -> UnitStates:
    """The task's own modalities of the golden batch."""
    ids, types = torch.tensor(GOLDEN["ids"]), torch.tensor(GOLDEN["types"])
    sides = model.config.task(task).modalities
    given: dict[str, Any] = {}
    if "picture" in sides:
        given |= {"pixels_bhwc": pictures(), "sizes": SIZES}
    if "text" in sides:
        given |= {"ids_bt": ids, "mask_bt": ids != 0, "types_bt": types}
    states: UnitStates = model(task, **given)
    return states


def close(found: Tensor, expected: Any, tolerance: float) -> None:
    expected = torch.tensor(expected, dtype=torch.float64)
    assert found.shape == expected.shape
    bound = tolerance * expected.abs().clamp(min=1)
    assert bool(((found.double() - expected).abs() < bound).all())


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("kind", ["shared", "plain"])
def test_answers_are_the_papers(kind: str, precision: torch.dtype, tolerance: float) -> None:
    model = reference(kind, precision)
    for task, expected in GOLDEN[kind]["tasks"].items():
        states = asked(model, task)
        for layer, first in zip(states.layers, expected["first"], strict=True):
            close(layer[:, 0], first, tolerance)
        close(states.vector(), expected["first"][-1], tolerance)
        if "boxes" not in expected:
            close(model.answers(states), expected["logits"], tolerance)
            several = model.config.task(task).several
            targets = values("degrees", (2, 7)).double().sigmoid() if several else torch.tensor([1, 0])
            close(model.answer_loss(states, targets), expected["loss"], tolerance)
            continue
        found, own = model.detections(states), objects(task)
        close(found.logits_bqc, expected["logits"], tolerance)
        close(found.boxes_bq4, expected["boxes"], tolerance)
        if found.attributes is not None:
            close(found.attributes, expected["attributes"], tolerance)
        close(model.detection_loss(states, own), expected["loss"], tolerance)
        matches = match(found.logits_bqc, found.boxes_bq4, own, SetWeights())
        assert [[m.queries_n.tolist(), m.objects_n.tolist()] for m in matches] == expected["matches"]
        losses = set_losses(found.logits_bqc, found.boxes_bq4, own, matches)
        for ours, theirs in zip(losses, ("loss_ce", "loss_bbox", "loss_giou"), strict=True):
            close(ours, expected[theirs], tolerance)


def test_names_that_no_unit_has_are_refused() -> None:
    config, made = shape("shared"), released("shared")
    with pytest.raises(
        CheckpointError, match=r"others: bert_model\.module\.surprise, stranger; and none of: -$"
    ):
        convert(made | {"stranger": torch.zeros(1), "bert_model.module.surprise": torch.zeros(1)}, config)
    del made["bert_projection.bias"]
    with pytest.raises(CheckpointError, match=r"others: -; and none of: texts\.project\.bias$"):
        convert(made, config)
    with pytest.raises(
        CheckpointError, match=r"none of: tasks.vqa2.picture_token_d, tasks.vqa2.text_token_d"
    ):
        convert(released("shared"), config, {name: row for name, row in TASK_ROWS.items() if name != "vqa2"})


@torch.no_grad()
def test_some_tasks_of_a_checkpoint_are_enough() -> None:
    whole = reference("shared")
    few = Unit(replace(shape("shared"), tasks=tasks(["glue_sst2"]))).double()
    assert few.pictures is None
    few.load_state_dict(convert(released("shared"), few.config))
    expected = whole.answers(asked(whole, "glue_sst2"))
    torch.testing.assert_close(few.answers(asked(few, "glue_sst2")), expected, atol=1e-12, rtol=0)


def test_the_published_shape() -> None:
    with torch.device("meta"):
        model = Unit(UnitConfig())
    parameters = sum(p.numel() for p in model.parameters())
    assert 200e6 < parameters < 206e6, "201 million (Hu & Singh 2021, table 3)"
    assert model.config.resnet.stride == 16


def test_gradients_reach_every_parameter() -> None:
    model = Unit(replace(shape("shared"), tasks=tasks(["detection_visual_genome", "vqa2"]))).double()
    model.requires_grad_(True)
    found, answered = asked(model, "detection_visual_genome"), asked(model, "vqa2")
    total = model.detection_loss(found, objects("detection_visual_genome"))
    (total + model.answer_loss(answered, torch.rand(2, 7, dtype=torch.float64))).backward()
    # queries are zeros at first: whichever looks at whichever, it sees the same
    first = "decoders.shared.blocks.0.attention"
    silent = {f"{first}.query.weight", f"{first}.query.bias", f"{first}.key.weight", f"{first}.value.weight"}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        none = name in silent or name.endswith("key.bias")  # a bias of all keys changes no softmax
        assert (float(parameter.grad.abs().max()) < 1e-12) == none, name


def some_text(b: int, t: int = 7) -> Tensor:
    return torch.randint(0, 30, (b, t), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("task", ["vqa2", "glue_sst2"])
@torch.no_grad()
def test_padding_of_texts_changes_nothing(task: str) -> None:
    model = reference("shared")
    pixels = pictures() if task == "vqa2" else None
    ids = some_text(2)
    together = model(task, pixels, ids, torch.arange(7) < torch.tensor([[7], [3]]))
    for row, length in enumerate((7, 3)):
        own = slice(row, row + 1)
        alone = model(task, None if pixels is None else pixels[own], ids[own, :length])
        assert alone.mask_bs is None
        torch.testing.assert_close(alone.layers[-1][0], together.layers[-1][row], atol=1e-10, rtol=0)


@torch.no_grad()
def test_what_is_outside_of_a_picture_is_not_seen() -> None:
    model, pixels = reference("shared"), pictures()
    before = model("detection_coco", pixels, sizes=SIZES)
    for n, (height, width) in enumerate(SIZES):
        pixels[n, height:], pixels[n, :, width:] = 7, 7
    after = model("detection_coco", pixels, sizes=SIZES)
    assert torch.equal(before.layers[-1], after.layers[-1])
    assert not torch.allclose(model("detection_coco", pixels).layers[-1], after.layers[-1], atol=1e-3)
    assert before.mask_bs.tolist() == [  # of 4 x 4 cells the first picture has 3 columns, the second 3 rows
        [True, True, True, False] * 4,
        [True] * 12 + [False] * 4,
    ]


@torch.no_grad()
def test_a_missing_side_is_the_same_for_a_row_as_for_the_batch() -> None:
    model = reference("shared")
    size = (50, 61)
    pixels, ids = pictures()[:1].repeat(4, 1, 1, 1), some_text(4)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[0] = mask[3] = False
    mixed = model("vqa2", pixels, ids, mask, sizes=[size, (0, 0), size, (0, 0)])
    for row, (pictured, told) in enumerate(((True, False), (False, True), (True, True))):
        own = slice(row, row + 1)
        alone = model("vqa2", pixels[own] if pictured else None, ids[own] if told else None)
        torch.testing.assert_close(mixed.layers[-1][row], alone.layers[-1][0], atol=1e-9, rtol=0)
    assert bool(mixed.vector().isfinite().all()), "not even of a row that has neither"
    nothing = model("detection_coco", pixels, sizes=[(0, 0)] * 4)
    assert bool(model.detections(nothing).boxes_bq4.isfinite().all())


def test_positions_have_names() -> None:
    model = reference("shared")
    states = model("vqa2", pictures(), some_text(2, 2))
    assert states.grid == (4, 4)
    whole = states.places(0)
    assert whole[5] == Place("patch", 5, (0.25, 0.25, 0.5, 0.5))
    assert whole[16:] == [Place("token", 0), Place("token", 1)]
    own = asked(model, "vqa2")
    places = own.places(0)  # 37 of 61 pixels are its width
    assert len(places) == 16 + 7
    assert places[3] == Place("patch", 3, None)
    assert places[2].box == pytest.approx((0.5 * 61 / 37, 0.0, 1.0, 0.25))
    assert [place.box is not None for place in places[:16]] == own.mask_bs[0, :16].tolist()
    first = asked(model, "visual_entailment")
    assert first.places(0)[16:] == [Place("token", 0)]
    assert model("glue_sst2", None, some_text(2)).places(1) == [Place("token", 0)]


@pytest.mark.parametrize("task", list(CLASSES))
@torch.no_grad()
def test_attention_is_recorded_and_changes_nothing(task: str) -> None:
    model = reference("shared", torch.float32)
    before = asked(model, task)
    with record(model) as seen:
        after = asked(model, task)
    for one, other in zip(before.layers, after.layers, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6 * float(one.abs().max().clamp(min=1)), rtol=0)
    shapes = {name: tuple(alpha.shape) for name, alpha in seen.weights}
    queries, positions = model.config.task(task).queries, len(before.places(0))
    for n in range(2):
        assert shapes[f"decoders.shared.blocks.{n}.attention"] == (2, 2, queries, queries)
        assert shapes[f"decoders.shared.blocks.{n}.cross"] == (2, 2, queries, positions)
        cells_and_task, tokens_and_task = (2, 2, 17, 17), (2, 2, 8, 8)
        assert shapes.get(f"pictures.blocks.{n}.attention", cells_and_task) == cells_and_task
        assert shapes.get(f"texts.bert.encoder.blocks.{n}.attention", tokens_and_task) == tokens_and_task
    sides = model.config.task(task).modalities
    assert len(shapes) == 4 + 2 * len(sides)
    across = dict(seen.weights)["decoders.shared.blocks.1.cross"]
    torch.testing.assert_close(across.sum(dim=-1), torch.ones(2, 2, queries))
    if before.mask_bs is not None:
        assert float(across.masked_fill(before.mask_bs[:, None, None], 0.0).max()) == 0


def test_positions_of_cells_are_shares_of_the_picture() -> None:
    whole = sine_positions(cells((8, 6), (4, 3), None, torch.device("cpu")), 8, torch.float64)
    assert whole.shape == (1, 12, 8)
    angles = [
        2 * torch.pi * (1 / (4 + 1e-6)),
        2 * torch.pi * (2 / (3 + 1e-6)),
    ]  # the first row, second column
    expected = [f(x) for a in angles for x in (a, a / 100) for f in (np.sin, np.cos)]
    torch.testing.assert_close(whole[0, 1], torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)
    part = cells((8, 6), (4, 3), [(8, 6), (4, 4)], torch.device("cpu"))
    own = sine_positions(part, 8, torch.float64)
    smaller = sine_positions(cells((4, 4), (2, 2), None, torch.device("cpu")), 8, torch.float64)
    torch.testing.assert_close(own[1].view(4, 3, 8)[:2, :2].flatten(0, 1), smaller[0])
    torch.testing.assert_close(own[0], whole[0])


RESNET = ResNetConfig(stem=16, depths=(1, 1), widths=(32, 32), frozen=0)
FIND = TaskConfig(name="find", kind="detection", modalities=("picture",), queries=4, classes=1)
ANSWER = TaskConfig(
    name="answer", kind="classification", modalities=("picture", "text"), queries=4, classes=2
)
TINY = UnitConfig(
    tasks=(FIND, ANSWER), resnet=RESNET, text=TEXT, encoder_width=32, encoder_depth=1, width=32, depth=2,
    heads=4, hidden=64,
)  # fmt: skip


def scenes(n: int, seed: int) -> tuple[Tensor, list[Objects]]:
    """Dark noise with one bright patch each."""
    g = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 60, (n, 24, 24, 3), generator=g, dtype=torch.uint8)
    sizes = torch.randint(6, 13, (n, 2), generator=g)
    corners = (torch.rand(n, 2, generator=g) * (25 - sizes)).long()
    for picture, (height, width), (top, left) in zip(pixels, sizes.tolist(), corners.tolist(), strict=True):
        picture[top : top + height, left : left + width] = 255
    boxes = torch.cat([(corners + sizes / 2).flip(1), sizes.flip(1)], dim=1) / 24
    return pixels, [Objects(torch.zeros(1, dtype=torch.long), box[None]) for box in boxes]


def test_it_finds_what_is_bright() -> None:
    torch.manual_seed(0)
    model, steps = Unit(replace(TINY, tasks=(FIND,))), 250
    optimiser = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        pixels, targets = scenes(32, step)
        optimiser.zero_grad()
        model.detection_loss(model("find", pixels), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        pixels, targets = scenes(128, 10_000)
        found = model.detections(model("find", pixels))
    best = found.logits_bqc.softmax(dim=-1)[..., 0].argmax(dim=1)
    corners = to_corners(found.boxes_bq4[torch.arange(128), best])
    expected = to_corners(torch.cat([own.boxes_n4 for own in targets]))
    assert float(iou(corners, expected).mean()) > 0.5, "by chance it is 0.2"
    likely = found.found(0.5)
    assert sum(len(own.labels_n) for own in likely) > 100
    assert all(bool((own.scores_n >= 0.5).all()) and own.corners_n4.shape[1] == 4 for own in likely)


@pytest.mark.parametrize("side", [3, 40])
@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_frozen_normalisation_is_that_of_constants(side: int, stride: int) -> None:
    """Whether kernels are scaled or, where those are more, results."""
    layer = FrozenConv(8, 12, 3, stride=stride, dilation=2).double()
    mean, variance, weight, bias = (torch.rand(12, dtype=torch.float64) + 0.5 for _ in range(4))
    layer.scale_c.copy_(weight / (variance + 1e-5).sqrt())
    layer.shift_c.copy_(bias - mean * layer.scale_c)
    x = torch.randn(2, 8, side, side, dtype=torch.float64)
    plain = F.conv2d(x, layer.weight, None, stride, 2, 2)
    expected = F.batch_norm(plain, mean, variance, weight, bias, eps=1e-5)
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


@torch.no_grad()
def test_the_stem_and_the_first_stage_are_not_trained() -> None:
    model = Unit(replace(TINY, resnet=replace(RESNET, frozen=2)))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    assert all(".stem." in name or ".stages.0." in name for name in frozen)
    assert RESNET.stride == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(FIND, name="a.b"), "got 'a.b'"),
        (lambda: replace(FIND, name="pop"), "got 'pop'"),
        (lambda: replace(FIND, kind="speech"), "got 'speech'"),  # type: ignore[arg-type]
        (lambda: replace(ANSWER, text="last"), "got 'last'"),  # type: ignore[arg-type]
        (lambda: replace(ANSWER, modalities=("sound",)), r"got \('sound',\)"),  # type: ignore[arg-type]
        (lambda: replace(ANSWER, modalities=("text", "text")), "each once"),
        (lambda: replace(FIND, modalities=("text",)), "pictures in which 'find'"),
        (lambda: replace(FIND, queries=0), "got 0 and 1"),
        (lambda: replace(ANSWER, attributes=2), "got 2"),
        (lambda: replace(FIND, several=True), "got several in 'find'"),
        (lambda: replace(RESNET, depths=(1,)), "for every stage"),
        (lambda: replace(RESNET, widths=(32, 30)), "divisible by 4"),
        (lambda: replace(RESNET, depths=(1,), widths=(4,)), "got one"),
        (lambda: replace(RESNET, frozen=4), "0 to 3 frozen parts, got 4"),
        (lambda: replace(TINY, tasks=()), r"got \[\]"),
        (lambda: replace(TINY, tasks=(FIND, FIND)), "different names"),
        (lambda: replace(TINY, encoder_width=30), "divisible by 4, got 30"),
        (lambda: replace(TINY, depth=0), "got 0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"expected.*{message}"):
        make()


def test_inputs_that_do_not_fit_are_refused() -> None:
    model, (pixels, targets) = Unit(TINY), scenes(2, 0)
    ids = torch.randint(0, 20, (2, 5))
    for call, message in (
        (lambda: model("dance", pixels), r"expected one of the tasks \['find', 'answer'\], got 'dance'"),
        (lambda: model("find", pixels, ids), "expected picture for 'find', got a text, too"),
        (lambda: model("answer"), "expected picture or text for 'answer', got neither"),
        (lambda: model("answer", pixels, ids_bt=ids[:1]), "expected as many texts as pictures, got 1 and 2"),
        (lambda: model("find", pixels.float()), "expected pictures as uint8"),
        (lambda: model("find", pixels[..., :1]), r"got torch\.uint8 \[2, 24, 24, 1\]"),
        (lambda: model("find", pixels[:, :0]), "at least one pixel, got 0 x 24"),
        (lambda: model("find", pixels, sizes=[(3, 3)]), "a size for each of 2 pictures, got 1"),
        (lambda: model("find", pixels, sizes=[(3, 3), (0, 4)]), "at most 24 x 24 pixels, got 0 x 4"),
        (lambda: model("answer", None, ids.repeat(1, 3)), "expected 1 to 12 tokens, got 15"),
        (
            lambda: model("answer", None, ids, mask_bt=ids[:, :3] > 0),
            r"mask \[2, 5\], got torch.bool \[2, 3\]",
        ),
        (lambda: model("answer", None, ids, ids), r"boolean mask \[2, 5\], got torch.int64"),
        (lambda: model.answers(model("find", pixels)), "got 'find', which is detection"),
        (lambda: model.detections(model("answer", pixels)), "got 'answer', which is classification"),
        (lambda: model.detection_loss(model("find", pixels), targets[:1]), "of 2 pictures, got of 1"),
        (lambda: model.answer_loss(model("answer", pixels), torch.zeros(3)), r"targets \[2\], got \[3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
