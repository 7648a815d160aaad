"""The fusion stage: what is held out is never drawn, and combinations are learnt."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from chiasm.data.builders.palette import COLOURS
from chiasm.data.builders.parallel import with_article
from chiasm.data.builders.plan import Placed, ViewSpec
from chiasm.data.splits import held_out
from chiasm.modality import Modality
from chiasm.models.mini.fusion import Encoded, Fusion, FusionConfig
from chiasm.training.features import FeatureSet
from chiasm.training.fusion_data import fusion_material
from chiasm.training.stages.fusion import COLOUR_WORDS, FusionStage, FusionStageConfig, Part
from tiny_corpus import THINGS, tiny_concepts

WIDTH = 16
SHADES = list(COLOURS.values())


def vector_of(text: str) -> Any:
    rng = np.random.default_rng(list(text.encode()))
    x = rng.standard_normal(WIDTH).astype(np.float32)
    return x / np.linalg.norm(x)


class Words:
    """A teacher to whom every text is another direction."""

    def vectors(self, texts: Sequence[str]) -> dict[str, Any]:
        return {text: vector_of(text) for text in texts}


def view(kind: str, split: str, *concepts: int) -> ViewSpec:
    return ViewSpec(kind, split, 0, tuple(Placed("noto", c, c) for c in concepts))  # type: ignore[arg-type]


def material() -> dict[str, Any]:
    """Five things, two pictures of each; every ordered pair of them is a scene."""
    count = len(THINGS)
    plan = [view("plain", "train", c) for c in range(count)] + [
        view("varied", "train", c) for c in range(count)
    ]
    plan += [view("scene", "train", a, b) for a in range(count) for b in range(count) if a != b]
    plan += [view("plain", "validation", 0), view("plain", "test", 1), view("coloured", "train", 2)]
    empty = np.zeros((len(plan), 1))
    features = FeatureSet(empty, empty, np.arange(len(plan)))  # type: ignore[arg-type]
    corpus = SimpleNamespace(concepts=tiny_concepts(), plan=plan, teacher=Words())
    return fusion_material(corpus, features)  # type: ignore[arg-type]


MATERIAL = material()


def thing_of(part: Part) -> int:
    return next(i for i, thing in enumerate(MATERIAL["things"]) if part.row in thing.pictures)


def colour_of(text: str) -> int:
    spoken = {
        pattern.format(c=c.en, z=c.zh): i
        for i, c in enumerate(SHADES)
        for both in COLOUR_WORDS
        for pattern in both
    }
    return spoken[text]


def encode(parts: Sequence[Part]) -> list[Encoded]:
    """A picture is its thing, a colour word its colour, a name its thing, a sound what it carries."""
    out = []
    for part in parts:
        if part.vector is not None:
            vector = part.vector
        elif part.row >= 0:
            vector = MATERIAL["things"][thing_of(part)].vector
        else:
            vector = vector_of(part.text)
        out.append(Encoded(part.modality, torch.from_numpy(vector), torch.zeros(0, WIDTH)))
    return out


def make_stage(**changes: Any) -> FusionStage:
    torch.manual_seed(0)
    module = Fusion(FusionConfig(width=WIDTH, heads=2, hidden=32, depth=1, parts=4))
    config = FusionStageConfig(**({"size": 24, "learning_rate": 5e-3} | changes))
    return FusionStage(module, encode=encode, config=config, **MATERIAL)


def drawn(items: Sequence[Sequence[Part]]) -> set[tuple[int, int]]:
    """(thing, colour) of items that are a picture and a colour word each."""
    found = set()
    for item in items:
        (seen,) = (part for part in item if part.row >= 0)
        (word,) = (part for part in item if part.text)
        found.add((thing_of(seen), colour_of(word.text)))
    return found


def test_the_material_splits_combinations_by_their_words() -> None:
    things, allowed = MATERIAL["things"], MATERIAL["allowed"]
    assert [thing.en for thing in things] == [en for _, en, _ in THINGS]
    assert [thing.pictures.tolist() for thing in things] == [[i, i + 5] for i in range(5)], (
        "training pictures alone"
    )
    for i, thing in enumerate(things):
        for k, colour in enumerate(SHADES):
            assert allowed[i, k] == (not held_out(with_article(f"{colour.en} {thing.en}")))
    assert 0 < (~allowed).sum() < allowed.size / 3
    train, held = ({(p.first, p.second) for p in MATERIAL[key]} for key in ("pairs", "held_pairs"))
    assert (len(train) + len(held), train & held) == (20, set())
    assert held


def test_training_never_draws_a_held_out_combination_and_the_checks_draw_nothing_else() -> None:
    stage = make_stage(change=1.0)
    allowed = {(int(i), int(k)) for i, k in zip(*np.nonzero(MATERIAL["allowed"]), strict=True)}
    trained = set().union(*(drawn(stage.batch(step).items) for step in range(60)))
    assert trained == allowed, "all that is allowed is drawn, and nothing else"
    asked: list[Part] = []
    stage.encode = lambda parts: asked.extend(parts) or encode(parts)  # type: ignore[func-returns-value]
    with torch.inference_mode():
        stage.evaluate()
    checked = drawn([asked[i : i + 2] for i in range(0, 2 * 192, 2)])
    assert checked
    assert not checked & allowed


def test_held_out_pairs_are_not_in_training() -> None:
    stage = make_stage(change=0.0)
    held = [torch.from_numpy(pair.vector) for pair in MATERIAL["held_pairs"]]
    for step in range(20):
        batch = stage.batch(step)
        targets = batch.candidates[batch.label]
        assert all((targets - vector).abs().amax(dim=1).min() > 1e-3 for vector in held)


def test_the_loss_falls_below_what_the_sum_of_the_parts_gives() -> None:
    stage = make_stage(size=8, learning_rate=0.02)
    optimiser, batch = stage.optimiser(), stage.batch(0)
    losses = []
    for _ in range(10):
        loss = stage.loss(batch)["fusion"]
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]


def test_a_batch_is_decided_by_its_step_and_has_every_form() -> None:
    stage = make_stage()

    def told(step: int) -> list[list[tuple[Modality, str, int]]]:
        return [[(p.modality, p.text, p.row) for p in item] for item in stage.batch(step).items]

    assert told(4) == told(4) != told(5)
    forms = {modality for step in range(10) for item in told(step) for modality, _, _ in item}
    assert forms == set(Modality)
    assert all(len(item) == 2 for item in told(0))


def test_the_right_candidate_is_the_thing_in_the_colour_that_was_asked_for() -> None:
    stage = make_stage(change=1.0)
    batch = stage.batch(0)
    for item, label in zip(batch.items, batch.label.tolist(), strict=True):
        ((thing, colour),) = drawn([item])
        wanted = with_article(f"{SHADES[colour].en} {MATERIAL['things'][thing].en}")
        np.testing.assert_array_equal(batch.candidates[label].numpy(), vector_of(wanted))


def test_the_figures_are_shares() -> None:
    with torch.inference_mode():
        figures = make_stage().evaluate()
    assert len(figures) == 6
    assert all(0 <= figure <= 1 for figure in figures.values())
    # Untrained, fusion is the sum of its parts.
    for kind in ("changed", "joined"):
        assert figures[f"{kind} fused R@1"] == pytest.approx(figures[f"{kind} sum R@1"])
