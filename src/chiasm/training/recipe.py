"""The recipe of chiasm-mini: steps in order, each resumable, each leaving a usable checkpoint behind."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chiasm.data.builders.sources import Sources
from chiasm.data.builders.views import ViewConfig
from chiasm.errors import InvalidInput
from chiasm.inference import load
from chiasm.training.assemble import assemble
from chiasm.training.backbones import load_trunk
from chiasm.training.calibrate import calibrate
from chiasm.training.corpus import Corpus
from chiasm.training.distil import DistilConfig, save_synthetic, synthesise
from chiasm.training.features import SHARD, make_trunk, write_shard
from chiasm.training.loop import Log, LoopConfig, Outcome, run_stage
from chiasm.training.memory import hold_memory
from chiasm.training.prepare import STAGES, Workshop, audio_extras
from chiasm.training.start import begin_from
from chiasm.training.validation_sets import ValidationSets

STEPS = ("features", "synthetic", "text", "image", "audio", "video", "fusion", "checkpoint")
_BASES = 6000


def train(
    folder: Path,
    *,
    stages: Sequence[str] | None = None,
    device: str = "auto",
    seconds: float | None = None,
    share: float = 1.0,
    start: Path | None = None,
    keep: float = 0.0,
    log: Log | None = None,
) -> dict[str, Any]:
    """Run the recipe on a corpus folder; what is finished is not done again.

    Args:
        folder: made by ``chiasm data build``; gets ``features``, ``stages`` and ``checkpoint``.
        stages: of :data:`STEPS`, all if left out.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        seconds: stop each stage cleanly after so long; run again to go on.
        share: of each stage's usual steps.
        start: a checkpoint whose weights stages that have not begun go on from, instead of from nothing.
        keep: the share of the weights a stage began with in what it ends with.
        log: told of every logged step; prints by default.

    Raises:
        InvalidInput: a stage that does not exist; ``keep`` without weights to begin with.
    """
    chosen = list(stages) if stages else list(STEPS)
    for name in chosen:
        if name not in STEPS:
            raise InvalidInput(
                f"expected stages of {', '.join(STEPS)}, got {name!r}",
                f"阶段应为 {'、'.join(STEPS)} 之一，实际为 {name!r}",
                param="stages",
            )
    hold_memory()
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    shop = Workshop(Corpus(folder, Sources(npm=folder / "sources")), folder / "stages", target, share)
    say = log or (lambda entry: print(json.dumps(entry, ensure_ascii=False), flush=True))
    if start is not None:
        begin_from(start, shop.corpus, shop.runs)
    done: dict[str, Any] = {}
    for name in STEPS:
        if name in chosen:
            done[name] = (
                _OTHERS[name](shop, say)
                if name in _OTHERS
                else _train_stage(shop, name, LoopConfig(seconds=seconds, keep=keep), say)
            )
    return done


def _train_stage(shop: Workshop, name: str, config: LoopConfig, log: Log) -> dict[str, Any]:
    stage = STAGES[name](shop)
    outcome: Outcome = run_stage(stage, shop.runs / name, config, log)
    return {"step": outcome.step, "done": outcome.done}


def _features(shop: Workshop, log: Log) -> dict[str, Any]:
    corpus = shop.corpus
    trunk = make_trunk(load_trunk(), torch.get_num_threads())
    shards = -(-len(corpus.plan) // SHARD)
    for index in range(shards):
        made = write_shard(
            index,
            corpus.plan,
            gallery=corpus.gallery,
            concepts=corpus.concepts,
            trunk=trunk,
            folder=corpus.folder / "features",
            views=ViewConfig(),
        )
        if made:
            log({"stage": "features", "step": index + 1, "steps": shards})
    return {"shards": shards}


def _synthetic(shop: Workshop, log: Log) -> dict[str, Any]:
    path = shop.corpus.folder / "synthetic.npz"
    config = DistilConfig()
    if not path.exists():
        log({"stage": "synthetic", "step": 0, "steps": config.count})
        shards = sorted((shop.corpus.folder / "features").glob("[0-9]*.npz"))
        rng = np.random.default_rng(config.seed)
        bases: list[Any] = []
        for index in rng.permutation(len(shards))[: -(-_BASES // SHARD)]:
            with np.load(shards[index]) as shard:
                bases.append(shard["fine"])
        save_synthetic(path, synthesise(load_trunk().to(shop.device), np.concatenate(bases), config))
    return {"samples": config.count}


def _checkpoint(shop: Workshop, log: Log) -> dict[str, Any]:
    folder = shop.corpus.folder / "checkpoint"
    extras = audio_extras(shop)
    lexicon = extras.pop("lexicon")
    assemble(shop.corpus, shop.runs, folder, lexicon=lexicon, extras=extras)
    log({"stage": "checkpoint", "step": 1, "steps": 3})
    sets = ValidationSets(shop.corpus, load(folder))
    queries, items = sets.queries_and_items()
    log({"stage": "checkpoint", "step": 2, "steps": 3})
    calibration = calibrate(queries, items, sets.background(), sets.names()).to_mapping()
    revision = assemble(
        shop.corpus, shop.runs, folder, lexicon=lexicon, extras={**extras, "calibration": calibration}
    )
    log({"stage": "checkpoint", "step": 3, "steps": 3})
    return {"folder": str(folder), "revision": revision}


_OTHERS: dict[str, Callable[[Workshop, Log], dict[str, Any]]] = {
    "features": _features,
    "synthetic": _synthetic,
    "checkpoint": _checkpoint,
}
