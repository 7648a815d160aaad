"""A model → a checkpoint folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chiasm.checkpoints import layout
from chiasm.checkpoints.fit import check_fit
from chiasm.checkpoints.storage import write_weights
from chiasm.errors import CheckpointError
from chiasm.hub.digest import digest_of
from chiasm.models.mini.model import ChiasmMini
from chiasm.models.mini.skeleton import skeleton
from chiasm.preprocess import PreprocessConfig

CAPABILITIES = ("embed", "classify")


def save(
    folder: Path,
    *,
    model: ChiasmMini,
    name: str,
    licence: str,
    preprocess: PreprocessConfig,
    tokenizer_json: str,
    words: Sequence[str],
    logit_scale: float,
    lexicon: bytes = b"",
    hearing: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    capabilities: Sequence[str] = CAPABILITIES,
) -> str:
    """Write a folder that :func:`~chiasm.checkpoints.load.load` reads; the manifest comes last.

    Args:
        folder: made if need be; files of an earlier checkpoint in it are replaced.
        model: as it was trained, not optimised for inference.
        name: what requests call it. licence: SPDX expression.
        preprocess: every number that changes the input.
        tokenizer_json: the base tokenizer. words: what is added to it, in the order of the ids.
        logit_scale: factor on a cosine before the softmax of zero-shot classification.
        lexicon: of the speech recogniser. hearing: constants of the speech listener.
        calibration: see ``library.relevance``. metrics: what was measured. card: model card, Markdown.

    Returns:
        The revision.

    Raises:
        CheckpointError: parts that do not fit each other, or weights that are not finite.
    """
    check_fit(model.config, preprocess, tokenizer_json, words)
    state = model.state_dict()
    if state.keys() != skeleton(model.config).state_dict().keys():
        raise CheckpointError(
            "expected the model as it was trained, got one that was optimised for inference",
            "应为训练所得的模型，实际为经过推理优化的模型",
            param="model",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for known in (layout.MANIFEST, *layout.KNOWN):
        (folder / known).unlink(missing_ok=True)
    write_weights(folder / layout.WEIGHTS, state)
    _write_json(folder / layout.PREPROCESS, preprocess.to_dict())
    (folder / layout.TOKENIZER).write_bytes(tokenizer_json.encode())
    (folder / layout.WORDS).write_bytes("".join(f"{word}\n" for word in words).encode())
    if lexicon:
        (folder / layout.LEXICON).write_bytes(lexicon)
    for file, table in (
        (layout.HEARING, hearing),
        (layout.CALIBRATION, calibration),
        (layout.METRICS, metrics),
    ):
        if table is not None:
            _write_json(folder / file, table)
    if card:
        (folder / layout.CARD).write_bytes(card.encode())
    files = {known: digest_of(folder / known) for known in layout.KNOWN if (folder / known).exists()}
    manifest: dict[str, Any] = {
        "architecture": layout.ARCHITECTURE,
        "name": name,
        "licence": licence,
        "logit_scale": logit_scale,
        "model": model.config.to_dict(),
        "capabilities": list(capabilities),
        "files": files,
    }
    _write_json(folder / layout.MANIFEST, manifest)
    return layout.revision_of(files, manifest["model"])


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_bytes((json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())
