"""What lies where in a checkpoint folder, and how it is verified.

``config.json`` is the manifest: it names every other file with its SHA-256. Nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm.errors import CheckpointError
from chiasm.hub.digest import digest_of
from chiasm.hub.names import is_hub_source, located, parse_source

MANIFEST = "config.json"
OPEN_CLIP = "open_clip_config.json"
WEIGHTS = "model.safetensors"
PREPROCESS = "preprocess.json"
TOKENIZER = "tokenizer.json"
WORDS = "words.txt"
LEXICON = "lexicon.bin"
HEARING = "hearing.json"
CALIBRATION = "calibration.json"
METRICS = "metrics.json"
CARD = "README.md"

REQUIRED = (WEIGHTS, PREPROCESS, TOKENIZER, WORDS)
DECISIVE = (*REQUIRED, LEXICON, HEARING)
"""The files that can change a vector."""
KNOWN = (*DECISIVE, CALIBRATION, METRICS, CARD)

ARCHITECTURE = "chiasm-mini"
EMBEDDED = Path(__file__).parent / "embedded"
MANIFEST_BYTES = 1 << 20


def resolve(source: str | Path | None) -> Path:
    """The folder of a checkpoint.

    Args:
        source: nothing or ``"chiasm-mini"`` for the model inside this package, ``hf:`` or ``modelscope:`` and
            the name of a model that was pulled, or the path of a folder.

    Raises:
        CheckpointError: none of them.
    """
    if isinstance(source, str) and is_hub_source(source):
        return located(parse_source(source))
    if source is None or source == ARCHITECTURE:
        folder = EMBEDDED / ARCHITECTURE
        if not (folder / MANIFEST).is_file():
            raise CheckpointError(
                f"expected the model {ARCHITECTURE} inside the package, but this installation has none; "
                "give the folder of a checkpoint",
                f"此安装不含内置模型 {ARCHITECTURE}；请指定一个检查点目录",
                param="model.source",
            )
        return folder
    if not isinstance(source, str | Path):
        raise CheckpointError(
            f"expected the name or the folder of a model, got {type(source).__name__}",
            f"应为模型名称或目录，实际为 {type(source).__name__}",
            param="model.source",
        )
    folder = Path(source).expanduser()
    if (folder / MANIFEST).is_file() or (folder / OPEN_CLIP).is_file():
        return folder
    what, what_zh = "none of them", "都不是"
    if folder.is_dir():
        what, what_zh = f"a folder without {MANIFEST}", f"该目录缺少 {MANIFEST}"
    raise CheckpointError(
        f"expected {ARCHITECTURE!r}, hf:OWNER/NAME, modelscope:OWNER/NAME or the path of a folder, "
        f"got {str(source)!r}, which is {what}",
        f"应为 {ARCHITECTURE!r}、hf:所有者/名称、modelscope:所有者/名称或检查点目录的路径，"
        f"实际为 {str(source)!r}：{what_zh}",
        param="model.source",
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """``config.json``, its keys and their types checked.

    Raises:
        CheckpointError: it is not what :func:`~chiasm.checkpoints.save.save` writes.
    """
    path = folder / MANIFEST
    if path.stat().st_size > MANIFEST_BYTES:
        raise _bad_manifest(f"more than {MANIFEST_BYTES} bytes")
    manifest = read_json(path)
    kinds: dict[str, type | tuple[type, ...]] = {
        "architecture": str, "name": str, "licence": str, "logit_scale": (int, float), "model": dict,
        "capabilities": list, "files": dict,
    }  # fmt: skip
    if set(manifest) != set(kinds):
        raise _bad_manifest(f"the keys {sorted(manifest)} instead of {sorted(kinds)}")
    for key, kind in kinds.items():
        if not isinstance(manifest[key], kind) or isinstance(manifest[key], bool):
            raise _bad_manifest(f"{key}: {manifest[key]!r}")
    if manifest["architecture"] != ARCHITECTURE:
        raise _bad_manifest(f"the architecture {manifest['architecture']!r} instead of {ARCHITECTURE!r}")
    if not all(isinstance(name, str) for name in manifest["capabilities"]):
        raise _bad_manifest(f"capabilities: {manifest['capabilities']!r}")
    return manifest


def verify(folder: Path, files: Mapping[str, Any]) -> None:
    """Check that all files are there and are what the manifest says.

    Raises:
        CheckpointError: naming the first file that is missing, unknown or changed.
    """
    for name in REQUIRED:
        if name not in files:
            raise _bad_manifest(f"no entry for {name}")
    for name, digest in files.items():
        if name not in KNOWN:  # also keeps "../…" out
            raise _bad_manifest(f"a file that no checkpoint has: {name!r}")
        path = folder / name
        if not path.is_file():
            raise CheckpointError(
                f"{name}: expected this file in {folder}", f"{folder} 中缺少文件 {name}", param=name
            )
        found = digest_of(path)
        if found != digest:
            raise CheckpointError(
                f"{name}: expected SHA-256 {digest}, got {found}; the file is damaged or was changed",
                f"{name}：SHA-256 应为 {digest}，实际为 {found}；文件已损坏或被改动",
                param=name,
            )


def revision_of(files: Mapping[str, str], model: Mapping[str, Any]) -> str:
    """16 hex digits that change whenever a vector could: of the decisive files and the model's shape."""
    shape = hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()
    pairs = sorted([(MANIFEST, shape), *((name, files[name]) for name in DECISIVE if name in files)])
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]


def read_any_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        CheckpointError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name}: expected JSON, got: {error}", f"{path.name}：应为 JSON：{error}", param=path.name
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table.

    Raises:
        CheckpointError: anything else.
    """
    value = read_any_json(path)
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path.name}: expected a table, got {type(value).__name__}",
            f"{path.name}：应为一个表，实际为 {type(value).__name__}",
            param=path.name,
        )
    return value


def _bad_manifest(got: str) -> CheckpointError:
    return CheckpointError(
        f"{MANIFEST}: expected the manifest of a chiasm checkpoint, got {got}",
        f"{MANIFEST}：应为 chiasm 检查点的清单，实际为 {got}",
        param=MANIFEST,
    )
