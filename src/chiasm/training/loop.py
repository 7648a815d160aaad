"""The one training loop: stages in, checkpoints out, resumable at any step with the same result.

A stage's batch is a function of its seed and the step alone, and the random state is set anew at each
step, so that a run that was killed and resumed ends where an uninterrupted one does.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chiasm.errors import CheckpointError, InvalidInput
from chiasm.training.best import keep_best
from chiasm.training.mean import RunningMean
from chiasm.training.start import START, STATE, start_of, trained_state

Log = Callable[[dict[str, Any]], None]


class Stage(Protocol):
    """One part of a recipe.

    Attributes:
        name: of its folder. steps: in all. module: what is trained and saved.
        clip: bound of the gradient norm.
    """

    @property
    def name(self) -> str: ...

    @property
    def steps(self) -> int: ...

    @property
    def module(self) -> nn.Module: ...

    @property
    def clip(self) -> float: ...

    def optimiser(self) -> torch.optim.Optimizer:
        """A fresh optimiser over the trained parameters."""

    def learning_rate(self, step: int) -> float:
        """The rate of this step; groups with a ``factor`` get that multiple."""

    def batch(self, step: int) -> Any:
        """The data of a step: a function of the seed and ``step`` alone. Runs in another thread."""

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Named losses, already weighted; their sum is minimised."""

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out data."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How often things happen, and when to stop.

    Attributes:
        keep: the share of the weights it began with in what a stage ends with.
        score: of an evaluation's figures; with it the weights that had the greatest are kept, see ``best``.
        stop: asked after each step; once it is true, the state is saved and the stage stops.
    """

    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 200
    save_seconds: float = 60.0
    seconds: float | None = None
    keep: float = 0.0
    score: Callable[[dict[str, float]], float] | None = None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended: ``done`` is False when it was stopped first."""

    step: int
    done: bool


def run_stage(stage: Stage, folder: Path, config: LoopConfig, log: Log) -> Outcome:
    """Train a stage from where its folder says that it stopped; writes ``state.pt`` and ``log.jsonl``.

    Raises:
        CheckpointError: the folder holds the state of another module.
        InvalidInput: something is to be kept of weights that the stage did not begin with.
        RuntimeError: the gradient is not finite; the last saved state stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began_with = start_of(folder)
    if config.keep and not began_with:
        raise InvalidInput(
            f"expected weights that stage {stage.name} began with, to keep a share of; give a start",
            f"阶段 {stage.name} 没有起始权重，无法保留其中一部分；请指定起始检查点",
            param="keep",
        )
    optimiser = stage.optimiser()
    mean = RunningMean(stage.module)
    step = _restore(stage, optimiser, mean, folder)
    began = saved = time.monotonic()
    first, waited = step, 0.0
    stage.module.train()
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file, ThreadPoolExecutor(1) as pool:

        def report(entry: dict[str, Any]) -> None:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            log({"stage": stage.name, "steps": stage.steps, **entry})

        for batch, wait in _ahead(stage, step, pool):
            waited += wait
            losses = _step(stage, optimiser, batch, step, config.seed)
            step += 1
            mean.update(step)
            if config.keep and step == stage.steps:
                mean.mix(began_with, config.keep)
            now = time.monotonic()
            if step % config.log_every == 0 or step == stage.steps:
                elapsed = max(now - began, 1e-9)
                rate = elapsed / (step - first)
                report(
                    {
                        "step": step,
                        "eta": round(rate * (stage.steps - step)),
                        "waiting": round(waited / elapsed, 3),
                        **{name: round(value, 4) for name, value in losses.items()},
                    }
                )
            if step % config.evaluate_every == 0 or step == stage.steps:
                figures = _evaluate(stage, mean)
                report({"step": step, "evaluation": figures})
                if config.score is not None:
                    keep_best(folder, mean.values, step, config.score(figures))
            stopped = config.stop() or (config.seconds is not None and now - began > config.seconds)
            if now - saved > config.save_seconds or step == stage.steps or stopped:
                _save(stage, optimiser, mean, step, folder / STATE)
                saved = time.monotonic()
            if stopped:
                break
    return Outcome(step, step >= stage.steps)


def cosine_rate(step: int, steps: int, peak: float, warm_up: int, floor: float = 0.02) -> float:
    """Linear warm-up, then half a cosine from ``peak`` down to ``floor`` x ``peak``."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = torch.tensor(min(1.0, (step - warm_up) / max(1, steps - warm_up)))
    return peak * (floor + (1 - floor) * 0.5 * (1 + float(torch.cos(torch.pi * done))))


def _ahead(stage: Stage, step: int, pool: ThreadPoolExecutor) -> Iterator[tuple[Any, float]]:
    """Batches from ``step`` on, each made while the one before is worked on, and the wait in seconds."""
    if step >= stage.steps:
        return
    coming = pool.submit(stage.batch, step)
    for following in range(step + 1, stage.steps + 1):
        began = time.monotonic()
        batch = coming.result()
        waited = time.monotonic() - began
        if following < stage.steps:
            coming = pool.submit(stage.batch, following)
        yield batch, waited


def _step(
    stage: Stage, optimiser: torch.optim.Optimizer, batch: Any, step: int, seed: int
) -> dict[str, float]:
    torch.manual_seed(seed * 1_000_003 + step)
    rate = stage.learning_rate(step)
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    losses = stage.loss(batch)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, stage.clip, error_if_nonfinite=True)
    optimiser.step()
    return {name: float(value.detach()) for name, value in losses.items()}


def _evaluate(stage: Stage, mean: RunningMean) -> dict[str, float]:
    stage.module.eval()
    with mean.in_place(), torch.inference_mode():
        figures = stage.evaluate()
    stage.module.train()
    return figures


def _save(stage: Stage, optimiser: torch.optim.Optimizer, mean: RunningMean, step: int, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    state = {
        "module": trained_state(stage.module),
        "mean": mean.values,
        "optimiser": optimiser.state_dict(),
        "step": step,
    }
    torch.save(state, temporary)
    temporary.replace(path)


def _restore(stage: Stage, optimiser: torch.optim.Optimizer, mean: RunningMean, folder: Path) -> int:
    path = folder / STATE
    if not path.exists():
        if start := start_of(folder):
            _put(stage, start, folder / START)
            mean.restore(start)
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    _put(stage, state["module"], path)
    mean.restore(state["mean"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _put(stage: Stage, weights: dict[str, Tensor], path: Path) -> None:
    # A state may also hold what the stage leaves as it is.
    missing = trained_state(stage.module).keys() - weights.keys()
    different = missing | (weights.keys() - stage.module.state_dict().keys())
    if different:
        raise CheckpointError(
            f"expected the state of stage {stage.name}, got other tensors: {sorted(different)[:3]}",
            f"应为阶段 {stage.name} 的训练状态，实际张量不符：{sorted(different)[:3]}",
            param=path.name,
        )
    stage.module.load_state_dict(weights, strict=False)
