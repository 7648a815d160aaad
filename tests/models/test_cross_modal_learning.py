"""Every cross-modal architecture learns what no modality knows; a broken way across is noticed."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from cross_modal import KINDS, SEEING, TEXT, Answers, Batch, accuracy, drawings, head, learn, questions
from torch import Tensor, nn

from chiasm.models.fusion.config import FusionConfig, SideConfig
from chiasm.models.fusion.model import FusionModel, Given
from chiasm.models.joined.config import JoinedConfig
from chiasm.models.joined.model import Joined
from chiasm.models.meter.config import MeterConfig, MeterHeadsConfig
from chiasm.models.meter.heads import HeadedMeter
from chiasm.models.meter.model import Meter
from chiasm.models.unit.config import ResNetConfig, TaskConfig, UnitConfig
from chiasm.models.unit.model import Unit
from chiasm.models.vilt.config import ViltConfig
from chiasm.models.vilt.model import Vilt

MODALITIES = ("picture", "text")
WIDTH = TEXT.width
BEGIN, END, NO, OF, COURSE = range(2, 7)
SMALL: dict[str, Any] = {"width": WIDTH, "heads": 4, "hidden": 64, "depth": 2}


class JoinedAnswers(Answers):
    """From the state of the first token alone: what it knows of the picture came across."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.joined = Joined(JoinedConfig(vision=SEEING, text=TEXT, **changes))
        self.head = head(WIDTH)

    def forward(self, batch: Batch) -> Tensor:
        states = self.joined(batch.pixels, batch.ids, batch.mask)
        side = states.picture_bpd if batch.ids is None else states.text_btd
        logits: Tensor = self.head(side[:, 0])
        return logits


class FusionAnswers(Answers):
    """From what is fused."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        sides = (
            SideConfig(name="picture", encoder=SEEING, pooling="first"),
            SideConfig(name="text", encoder=TEXT),
        )
        self.fusion = FusionModel(FusionConfig(sides=sides, **SMALL, **changes))
        self.head = head(WIDTH)

    def forward(self, batch: Batch) -> Tensor:
        given = {}
        if batch.pixels is not None:
            given["picture"] = Given(batch.pixels)
        if batch.ids is not None:
            given["text"] = Given(batch.ids, batch.mask)
        logits: Tensor = self.head(self.fusion(given).vector_bd)
        return logits


class ViltAnswers(Answers):
    """From the pair's vector, which is of the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.vilt = Vilt(ViltConfig(vision=SEEING, text=replace(TEXT, depth=0)))
        self.head = head(WIDTH)

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(self.vilt.vector(batch.ids, batch.pixels, batch.mask))
        return logits


def meter_config(**changes: Any) -> MeterConfig:
    return MeterConfig(
        vision=replace(SEEING, norm_first=True, patch_bias=False, activation="quick_gelu"),
        text=replace(TEXT, width=16), decoder_depth=2, **SMALL, **changes,
    )  # fmt: skip


class MeterAnswers(Answers):
    """From the text's half of the pair's vector, or the picture's without a text."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.meter = Meter(meter_config(**changes))
        self.head = head(WIDTH)

    def forward(self, batch: Batch) -> Tensor:
        text_bd, picture_bd = self.meter.vector(batch.pixels, batch.ids, batch.mask).chunk(2, dim=1)
        logits: Tensor = self.head(picture_bd if batch.ids is None else text_bd)
        return logits


class MeterWrites(Answers):
    """In words, of which a yes has two."""

    rate = 2e-3

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.meter = HeadedMeter(meter_config(kind="encoder-decoder", **changes), MeterHeadsConfig())

    def loss(self, batch: Batch) -> Tensor:
        written = torch.tensor([[BEGIN, NO, END, 0], [BEGIN, OF, COURSE, END]])[batch.answers]
        states = self.meter.meter(batch.pixels, batch.ids, batch.mask)
        return self.meter.decoder_loss(states, written, written != 0)

    def answers(self, batch: Batch) -> Tensor:
        states = self.meter.meter(batch.pixels, batch.ids, batch.mask)
        texts = self.meter.write(states, BEGIN, ends=(END,), most=4)
        return torch.tensor([{(NO,): 0, (OF, COURSE): 1}.get(tuple(text), -1) for text in texts])


class UnitAnswers(Answers):
    """As a task of classification."""

    TASK = TaskConfig(name="named", kind="classification", modalities=MODALITIES, queries=4, classes=2)

    def __init__(self) -> None:
        super().__init__()
        resnet = ResNetConfig(stem=16, depths=(1, 1), widths=(WIDTH, WIDTH), frozen=0)
        self.unit = Unit(
            UnitConfig(
                tasks=(self.TASK,), resnet=resnet, text=TEXT, encoder_width=WIDTH, encoder_depth=1, **SMALL
            )
        )

    def forward(self, batch: Batch) -> Tensor:
        return self.unit.answers(self.unit("named", batch.pixels, batch.ids, batch.mask))


ARCHITECTURES: dict[str, Callable[[], Answers]] = {
    "joined in ViT's trunk": partial(JoinedAnswers, trunk="vit"),
    "joined in BERT's trunk": partial(JoinedAnswers, trunk="bert"),
    "joined, crossed": partial(JoinedAnswers, joining="crossed"),
    "joined, crossed once": partial(JoinedAnswers, joining="crossed", crossed_depth=1),
    "early": partial(FusionAnswers, kind="early"),
    "early, renormalised": partial(FusionAnswers, kind="early", missing="renormalise"),
    "early, first local": partial(FusionAnswers, kind="early", local_depth=1),
    "late, sum": partial(FusionAnswers, kind="late", combining="sum"),
    "late, gate": partial(FusionAnswers, kind="late", combining="gate"),
    "late, gate, renormalised": partial(FusionAnswers, kind="late", combining="gate", missing="renormalise"),
    "late, bilinear": partial(FusionAnswers, kind="late", combining="bilinear"),
    "late, concatenated": partial(FusionAnswers, kind="late", combining="mlp"),
    "hierarchical": partial(FusionAnswers, kind="hierarchical"),
    "hierarchical, renormalised": partial(FusionAnswers, kind="hierarchical", missing="renormalise"),
    "ViLT": ViltAnswers,
    "METER, co-attention": partial(MeterAnswers, fusion="co"),
    "METER, merged attention": partial(MeterAnswers, fusion="merged"),
    "METER writes, co-attention": partial(MeterWrites, fusion="co"),
    "METER writes, merged attention": partial(MeterWrites, fusion="merged"),
    "UniT": UnitAnswers,
}
CROSSING = ("joined, crossed", "joined, crossed once", "hierarchical", "METER, co-attention", "UniT")
"""Those that look from one sequence at another."""


def new(name: str) -> Answers:
    torch.manual_seed(0)
    return ARCHITECTURES[name]()


@cache
def trained(name: str) -> Answers:
    model = new(name)
    learn(model)
    return model.eval()


@cache
def asked() -> Batch:
    """New questions."""
    return questions(512, seed=10_000)


def by_chance(share: float) -> bool:
    """Within five deviations of a half, of so many questions."""
    return abs(share - 0.5) < 5 * 0.5 / len(asked().answers) ** 0.5


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_answers_what_no_modality_knows(name: str) -> None:
    model, batch = trained(name), asked()
    assert accuracy(model, batch) > 0.95
    assert by_chance(accuracy(model, batch.swapped())), "it did not look at the pictures"
    for modality in MODALITIES:
        assert by_chance(accuracy(model, batch.only(modality))), f"of a {modality} that lost the other"


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_modality_teaches_it_nothing(name: str, modality: str) -> None:
    model = new(name)
    learn(model, steps=30, seen=lambda batch: batch.only(modality))
    assert by_chance(accuracy(model, asked().only(modality)))


def crossings(model: nn.Module) -> list[nn.Module]:
    return [module for name, module in model.named_modules() if name.endswith(".cross")]


@pytest.mark.parametrize("name", CROSSING)
def test_a_broken_way_across_is_noticed(name: str) -> None:
    whole, broken = trained(name), new(name)
    broken.load_state_dict(whole.state_dict())
    assert crossings(broken)
    for cross in crossings(broken):
        nn.init.zeros_(cross.output.weight).requires_grad_(False)
    assert by_chance(accuracy(broken, asked())), "what was learnt did not come across"
    learn(broken, steps=60)
    assert by_chance(accuracy(broken, asked())), "it was learnt past the way across"


def test_questions_are_even() -> None:
    assert drawings().shape == (2, 4, 28, 28, 3)
    assert len(KINDS) == 2
    batch = questions(4000, seed=1)
    assert batch.ids is not None
    yes = batch.answers.double()
    assert abs(float(yes.mean()) - 0.5) < 0.04
    for phrase in batch.ids.unique(dim=0):
        assert abs(float(yes[(batch.ids == phrase).all(dim=1)].mean()) - 0.5) < 0.15
