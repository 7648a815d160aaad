"""From a published model and pairs to a model in the same layout."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from chiasm.checkpoints import layout, load
from chiasm.checkpoints.published import OPEN_CLIP_KIND, read_manifest
from chiasm.errors import CheckpointError, Conflict, InvalidInput
from chiasm.inference import pick_device
from chiasm.modality import Text
from chiasm.models.clip.model import Clip
from chiasm.preprocess import ModelDescription, Preprocessor
from chiasm.settings import Limits
from chiasm.training.best import best_of
from chiasm.training.finetune.config import FinetuneConfig
from chiasm.training.finetune.kept import read_note, write_note
from chiasm.training.finetune.material import Corpus, Material, corpus_of, split
from chiasm.training.finetune.pairs import Pairs, read_pairs
from chiasm.training.finetune.pictures import PictureReader
from chiasm.training.finetune.result import Epoch, FinetuneResult, history_of, publish
from chiasm.training.finetune.stage import FinetuneStage
from chiasm.training.finetune.survey import Pass, Stopped
from chiasm.training.finetune.towers import Towers
from chiasm.training.finetune.validation import score_of
from chiasm.training.loop import Log, LoopConfig, run_stage
from chiasm.training.memory import hold_memory
from chiasm.training.precision import mixed
from chiasm.training.start import STATE

KINDS = ("clip", "chinese_clip", "siglip", OPEN_CLIP_KIND)
"""Families with two towers that can be written as they came."""
_FREE = frozenset({"threads", "skip_bad"})
"""Settings that may be others when a run goes on."""
_LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What one call of :func:`finetune` was given and made of it."""

    config: FinetuneConfig
    work: Path
    limits: Limits
    seconds: float | None
    stop: Callable[[], bool]
    log: Log


def finetune(
    source: str | Path,
    data: Path,
    out: Path,
    *,
    validation: Path | None = None,
    config: FinetuneConfig | None = None,
    device: str = "auto",
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    limits: Limits | None = None,
    log: Log | None = None,
) -> FinetuneResult:
    """Fine-tune a CLIP, Chinese-CLIP or SigLIP on pairs of pictures and texts.

    A CLIP learns with InfoNCE, a SigLIP with the sigmoid loss. What a stopped or killed run did is kept in
    ``OUT.training`` beside ``out``; the same call goes on, and ends with the weights that it would have ended
    with. The epoch whose running mean of the weights did best in validation is written.

    Args:
        source: a name or a folder, as :func:`chiasm.load` takes it.
        data: pairs, see :func:`~chiasm.training.finetune.pairs.read_pairs`.
        out: new or empty folder; gets the model in the Hugging Face layout, ``training.json`` beside it.
        validation: pairs to validate on; without them a share of the pictures is held out.
        config: what is trained, and how. device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        seconds: stop cleanly after so long. stop: asked after each step; once it is true, likewise.
        limits: bounds on files and texts.
        log: told of every logged step; prints by default.

    Raises:
        CheckpointError: a source that is no such model.
        Conflict: ``out`` has something in it, or the folder beside it is of another run.
        ChiasmError: pairs that cannot be used; the message names the file or the line.
    """
    data, out = data.expanduser().resolve(), out.expanduser().resolve()
    config, limits = config or FinetuneConfig(), limits or Limits()
    folder = layout.resolve(source)
    _expect_two_towers(folder)
    _expect_new(out)
    target = pick_device(device)
    found = read_pairs(data, limits, skip_bad=config.skip_bad)
    listed = (
        read_pairs(validation.expanduser().resolve(), limits, skip_bad=config.skip_bad)
        if validation
        else Pairs()
    )
    corpus = corpus_of(found.pairs, listed.pairs)
    hold_memory()
    clip, about = load(folder, target)
    assert isinstance(clip, Clip)
    call = _Call(
        config=config,
        work=out.with_name(f"{out.name}.training"),
        limits=limits,
        seconds=seconds,
        stop=stop,
        log=log or (lambda entry: print(json.dumps(entry, ensure_ascii=False), flush=True)),
    )
    with _alone(call.work), ThreadPoolExecutor(config.threads) as pool:
        _expect_same_run(call.work, _fingerprint(about, corpus, config))
        result = _run(call, Towers(clip, config.part), about, corpus, pool)
        result = replace(
            result,
            folder=str(out),
            skipped=[*found.refused, *listed.refused, *result.skipped],
            alone=found.alone + listed.alone,
        )
        if result.done:
            publish(clip, replace(about, name=out.name), call.work, out, result=result, config=config)
    if result.done:
        shutil.rmtree(call.work)
    return result


def _run(
    call: _Call, towers: Towers, about: ModelDescription, corpus: Corpus, pool: ThreadPoolExecutor
) -> FinetuneResult:
    """Read everything, train, and leave the best weights in the towers."""
    config, work = call.config, call.work
    prepare = Preprocessor(about).prepare_part
    words = [prepare(Text(text)) for text in corpus.texts]
    cut = sum(part.truncated > 0 for part in words)
    reader = PictureReader(about.preprocess.image, call.limits, pool, crop=config.crop)

    def precision() -> AbstractContextManager[Any]:
        return mixed(towers.device) if config.accuracy == "auto" else nullcontext()

    once = Pass(towers=towers, work=work, precision=precision, log=call.log, stop=call.stop)
    try:
        keep = towers.image_locked and not config.crop
        images, bad = once.pictures(corpus.files, reader, keep=keep, skip_bad=config.skip_bad)
        texts = once.texts(words) if towers.text_locked else None
    except Stopped:
        return FinetuneResult(cut=cut)
    learn, check = split(corpus, list(bad), config.hold_out, config.seed)
    stage = FinetuneStage(
        towers,
        Material(corpus.files, words, learn, check),
        reader,
        config,
        images=images,
        texts=texts,
        precision=precision,
    )
    before = _before(stage, call)
    loop = LoopConfig(
        seed=config.seed,
        evaluate_every=stage.per_epoch,
        seconds=call.seconds,
        score=score_of,
        stop=call.stop,
    )
    outcome = run_stage(stage, work, loop, call.log)
    history = [
        Epoch(step // stage.per_epoch, step, figures)
        for step, figures in history_of(work / "log.jsonl").items()
    ]
    best = best_of(work)
    if outcome.done and best is not None:
        towers.load_state_dict(best.weights, strict=False)
        towers.scale()  # the last step may have gone beyond its bound
    return FinetuneResult(
        done=outcome.done,
        step=outcome.step,
        steps=stage.steps,
        learnt=len(learn),
        held_out=len(check),
        before=before,
        epochs=history,
        best=best.step // stage.per_epoch if best is not None else 0,
        skipped=list(bad.values()),
        cut=cut,
    )


def _before(stage: FinetuneStage, call: _Call) -> dict[str, float]:
    """The figures of the model as it came; computed in the first call only."""
    path = call.work / "before.json"
    known: dict[str, float] | None = read_note(path)
    if known is None:
        stage.module.eval()
        known = stage.evaluate()
        write_note(path, known)
        call.log({"stage": stage.name, "step": 0, "steps": stage.steps, "evaluation": known})
    return known


def _expect_two_towers(folder: Path) -> None:
    manifest = read_manifest(folder)
    kind = manifest.get("model_type") or manifest.get("architecture")
    if kind not in KINDS:
        raise CheckpointError(
            f"expected a CLIP, a Chinese-CLIP or a SigLIP to fine-tune, got {kind!r}",
            f"可微调的模型应为 CLIP、Chinese-CLIP 或 SigLIP，实际为 {kind!r}",
            param="source",
            code="not_trainable",
        )


def _expect_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Conflict(
            f"expected a new or an empty folder, got {out}",
            f"应为新目录或空目录，实际为 {out}",
            param="out",
        )


def _fingerprint(about: ModelDescription, corpus: Corpus, config: FinetuneConfig) -> dict[str, Any]:
    """What decides the weights that a run ends with, and the figures of its epochs."""
    told = [[str(file) for file in corpus.files], corpus.texts, corpus.pairs.tolist(), corpus.own]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    chosen = {name: value for name, value in asdict(config).items() if name not in _FREE}
    return {"model": about.revision, "pairs": digest, **chosen}


def _expect_same_run(work: Path, wanted: dict[str, Any]) -> None:
    path = work / "run.json"
    begun = read_note(path)
    if begun != wanted and not (work / STATE).exists():  # nothing was learnt yet that could be lost
        for left in work.iterdir():
            if left.is_file() and left.name != _LOCK:
                left.unlink()
        write_note(path, wanted)
        return
    for name, value in wanted.items():
        if begun.get(name) != value:
            raise Conflict(
                f"{work}: expected the run that was begun there, whose {name} is {begun.get(name)!r}, "
                f"got {value!r}; remove the folder to begin anew",
                f"{work}：其中已有一次训练，{name} 为 {begun.get(name)!r}，本次为 {value!r}；"
                "若要重新开始，请删除该目录",
                param=name,
            )


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """The folder for this process alone; the kernel frees it however the process ends."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / _LOCK).open("a")
    except OSError as error:
        raise InvalidInput(
            f"expected a folder that can be written beside {work}, got: {error.strerror}",
            f"{work} 所在的目录应当可写，实际为：{error.strerror}",
            param="out",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                f"expected a folder that nobody else trains in, got {work}",
                f"{work} 正被另一个训练进程使用",
                param="out",
            ) from error
        yield
