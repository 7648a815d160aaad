"""The training loop: the same result however often it is stopped, and a log that says what happened."""

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.errors import CheckpointError, InvalidInput
from chiasm.training.best import best_of
from chiasm.training.loop import LoopConfig, Outcome, cosine_rate, run_stage
from chiasm.training.start import START, trained_state, weights_of

Batch = tuple[Tensor, Tensor]


class Line(nn.Module):
    """Something of all that must survive a stop: weights, running statistics, dropout, a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(4, 2)

    def forward(self, x_bc: Tensor) -> Tensor:
        out: Tensor = self.out(self.drop(self.norm(self.frozen(x_bc))))
        return out


class LineStage:
    """Eight steps of regression; ``crash`` is a step at which the machine dies."""

    name = "line"
    clip = 1.0

    def __init__(self, *, steps: int = 8, crash: int | None = None, poison: int | None = None) -> None:
        torch.manual_seed(3)
        self.steps = steps
        self.module: nn.Module = Line()
        self.crash, self.poison = crash, poison
        self.asked: list[int] = []
        self.rates: list[list[float]] = []
        self.training: list[bool] = []
        self.threads: set[int] = set()
        self.made: torch.optim.Optimizer | None = None

    def optimiser(self) -> torch.optim.Optimizer:
        slow = list(self.module.norm.parameters())  # type: ignore[union-attr]
        groups = [{"params": list(self.module.out.parameters())}, {"params": slow, "factor": 0.1}]  # type: ignore[union-attr]
        self.made = torch.optim.AdamW(groups, lr=1.0)
        return self.made

    def learning_rate(self, step: int) -> float:
        return cosine_rate(step, self.steps, 0.05, 2)

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        self.threads.add(threading.get_ident())
        draw = torch.Generator().manual_seed(100 + step)
        x = torch.randn(6, 4, generator=draw)
        return (x * math.nan if step == self.poison else x), x[:, :2] * 2

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        assert self.made is not None
        self.rates.append([group["lr"] for group in self.made.param_groups])
        if self.crash is not None and len(self.rates) > self.crash:
            raise KeyboardInterrupt
        x, y = batch
        out = self.module(x)
        return {"fit": F.mse_loss(out, y), "small": 0.01 * out.square().mean()}

    def evaluate(self) -> dict[str, float]:
        self.training.append(self.module.training)
        torch.rand(7)  # what an evaluation draws must not matter
        return {"error": 0.25}


def run(stage: LineStage, folder: Path, **config: Any) -> Outcome:
    return run_stage(stage, folder, LoopConfig(**config), lambda entry: None)


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def same(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().items(), right.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.fixture
def whole(tmp_path: Path) -> LineStage:
    """A run that nothing interrupted."""
    stage = LineStage()
    assert run(stage, tmp_path / "whole") == Outcome(8, True)
    return stage


def test_a_run_stopped_after_every_step_ends_bit_for_bit_as_one_that_was_not(
    whole: LineStage, tmp_path: Path
) -> None:
    for step in range(1, 9):
        stage = LineStage()
        assert run(stage, tmp_path / "parts", seconds=0.0) == Outcome(step, step == 8)
    assert same(stage.module, whole.module)
    assert not same(stage.module, LineStage().module)


def test_a_run_that_died_goes_on_from_what_was_saved(whole: LineStage, tmp_path: Path) -> None:
    folder = tmp_path / "died"
    assert run(LineStage(), folder, seconds=0.0).step == 1
    with pytest.raises(KeyboardInterrupt):
        run(LineStage(crash=4), folder)  # died at step 5, nothing saved since step 1
    resumed = LineStage()
    assert run(resumed, folder).done
    assert resumed.asked == list(range(1, 8))
    assert same(resumed.module, whole.module)


def test_saving_often_loses_little(whole: LineStage, tmp_path: Path) -> None:
    folder = tmp_path / "often"
    with pytest.raises(KeyboardInterrupt):
        run(LineStage(crash=4), folder, save_seconds=0.0)
    resumed = LineStage()
    run(resumed, folder)
    assert resumed.asked == [4, 5, 6, 7]
    assert same(resumed.module, whole.module)


def test_another_seed_gives_another_result(whole: LineStage, tmp_path: Path) -> None:
    other = LineStage()
    run(other, tmp_path / "other", seed=1)
    assert not same(other.module, whole.module)


def test_a_finished_stage_does_nothing_more(tmp_path: Path) -> None:
    run(LineStage(), tmp_path)
    before = entries(tmp_path)
    again = LineStage()
    assert run(again, tmp_path) == Outcome(8, True)
    assert again.asked == []
    assert entries(tmp_path) == before


def test_batches_are_made_in_order_and_ahead_in_another_thread(whole: LineStage) -> None:
    assert whole.asked == list(range(8))
    assert threading.get_ident() not in whole.threads


def test_the_log_says_what_happened_and_when(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    stage = LineStage(steps=5)
    run_stage(stage, tmp_path, LoopConfig(log_every=2, evaluate_every=3), told.append)
    written = entries(tmp_path)
    assert [entry["step"] for entry in written if "fit" in entry] == [2, 4, 5]
    assert [entry["step"] for entry in written if "evaluation" in entry] == [3, 5]
    for entry in written:
        if "evaluation" in entry:
            assert entry["evaluation"] == {"error": 0.25}
        else:
            assert entry.keys() == {"step", "eta", "waiting", "fit", "small"}
            assert 0 <= entry["waiting"] <= 1
            assert entry["eta"] >= 0
    assert written[-2]["eta"] == 0
    assert told == [{"stage": "line", "steps": 5, **entry} for entry in written]
    assert stage.training == [False, False]
    assert stage.module.training


def test_groups_get_their_factor_of_the_rate(whole: LineStage) -> None:
    for step, (full, tenth) in enumerate(whole.rates):
        assert full == pytest.approx(cosine_rate(step, 8, 0.05, 2))
        assert tenth == pytest.approx(full / 10)


def test_a_gradient_that_is_not_a_number_stops_the_run_and_is_not_saved(tmp_path: Path) -> None:
    stage = LineStage(poison=3)
    with pytest.raises(RuntimeError, match="non-finite"):
        run(stage, tmp_path, save_seconds=0.0)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert saved["step"] == 3
    assert all(torch.isfinite(value).all() for value in saved["module"].values())


def test_what_is_frozen_is_not_written(tmp_path: Path) -> None:
    run(LineStage(), tmp_path)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)["module"]
    assert saved.keys() == {
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
        "out.weight",
        "out.bias",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "state.pt"]


def test_the_state_of_another_module_is_refused(tmp_path: Path) -> None:
    run(LineStage(), tmp_path)
    other = LineStage()
    other.module.extra = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"extra\.bias"):
        run(other, tmp_path)


def test_a_stage_ends_with_the_running_mean_of_its_weights(tmp_path: Path) -> None:
    passed: list[Tensor] = []
    stage = LineStage()
    loss = stage.loss

    def watched(batch: Batch) -> dict[str, Tensor]:
        passed.append(stage.module.out.weight.detach().clone())  # type: ignore[union-attr]
        return loss(batch)

    stage.loss = watched  # type: ignore[method-assign]
    run(stage, tmp_path)
    mean, *later = (*passed, stage.module.out.weight.detach())  # type: ignore[union-attr]
    for step, weights in enumerate(later, 1):
        mean = mean * step / (step + 9) + weights * 9 / (step + 9)
    torch.testing.assert_close(weights_of(tmp_path)["out.weight"], mean)
    assert not torch.allclose(mean, later[-1])
    assert int(weights_of(tmp_path)["norm.num_batches_tracked"]) == 8


def test_the_mean_is_what_is_evaluated_and_survives_a_stop(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    for _ in range(8):
        stage = LineStage()
        stage.evaluate = lambda s=stage: seen.append(s.module.out.weight.detach().clone()) or {}  # type: ignore[method-assign, union-attr, misc]
        run(stage, tmp_path / "parts", seconds=0.0)
    run(LineStage(), tmp_path / "whole")
    assert torch.equal(seen[-1], weights_of(tmp_path / "whole")["out.weight"])
    assert not torch.equal(seen[-1], stage.module.out.weight)  # type: ignore[union-attr]


def test_a_share_of_the_first_weights_is_kept(tmp_path: Path) -> None:
    first = {name: value + 1 for name, value in trained_state(LineStage().module).items()}
    for folder in ("half", "none"):
        (tmp_path / folder).mkdir()
        torch.save(first, tmp_path / folder / START)
    run(LineStage(), tmp_path / "half", keep=0.5)
    run(LineStage(), tmp_path / "none")
    half, none = (weights_of(tmp_path / folder)["out.weight"] for folder in ("half", "none"))
    torch.testing.assert_close(half, 0.5 * (none + first["out.weight"]))
    run(LineStage(), tmp_path / "half", keep=0.5)  # done is done
    assert torch.equal(weights_of(tmp_path / "half")["out.weight"], half)


def test_the_weights_with_the_best_score_are_kept_of_equal_ones_the_later(tmp_path: Path) -> None:
    figures = iter([0.1, 0.7, 0.7, 0.3])
    stage = LineStage()
    seen: list[Tensor] = []

    def evaluate() -> dict[str, float]:
        seen.append(stage.module.out.weight.detach().clone())  # type: ignore[union-attr]
        return {"right": next(figures)}

    stage.evaluate = evaluate  # type: ignore[method-assign]
    run(stage, tmp_path, evaluate_every=2, score=lambda told: told["right"])
    best = best_of(tmp_path)
    assert best is not None
    assert (best.step, best.score) == (6, 0.7)
    assert torch.equal(best.weights["out.weight"], seen[2])


def test_whoever_asks_to_stop_gets_what_was_done_saved(whole: LineStage, tmp_path: Path) -> None:
    stage = LineStage()
    assert run(stage, tmp_path, stop=lambda: len(stage.rates) == 3) == Outcome(3, False)
    resumed = LineStage()
    assert run(resumed, tmp_path) == Outcome(8, True)
    assert resumed.asked == [3, 4, 5, 6, 7]
    assert same(resumed.module, whole.module)


def test_nothing_is_kept_of_weights_that_were_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="expected weights that stage line began with"):
        run(LineStage(), tmp_path, keep=0.5)


def test_the_rate_warms_up_and_falls_as_half_a_cosine() -> None:
    rates = [cosine_rate(step, 100, 2.0, 10, floor=0.1) for step in range(101)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    for step in range(10, 101):
        fall = 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))
        assert rates[step] == pytest.approx(2.0 * (0.1 + 0.9 * fall), rel=1e-5)
    assert cosine_rate(500, 100, 2.0, 10, floor=0.1) == pytest.approx(0.2)
    assert cosine_rate(0, 0, 2.0, 0) == pytest.approx(2.0)
