"""Writing a model's folder: all of it or nothing."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from chiasm.checkpoints.foreign import SAFE
from chiasm.errors import CheckpointError
from chiasm.nn.packed import PackedLinear

Files = dict[str, Mapping[str, Any] | list[Any] | bytes | str]
"""What is in the files by their names; tables and lists become JSON."""


def expect_as_loaded(model: nn.Module) -> None:
    """Refuse a model that was changed for inference.

    Raises:
        CheckpointError: it was packed, or its pixels were folded.
    """
    if any(isinstance(m, PackedLinear) or getattr(m, "folded", False) for m in model.modules()):
        raise CheckpointError(
            "expected a model as it was loaded, got one that was packed for inference",
            "应为未为推理而打包的模型",
            code="not_exportable",
        )


def write_folder(folder: Path, files: Files, tensors: Mapping[str, Tensor]) -> None:
    """Write files and ``model.safetensors``; nobody sees a folder that is not complete.

    Raises:
        CheckpointError: the folder has something in it, or is none.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(
            f"expected a new or an empty folder, got {folder}",
            f"应为新目录或空目录，实际为 {folder}",
            param="folder",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as made:
        whole = Path(made) / "model"
        for name, content in files.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_bytes(content))
        apart = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(apart, whole / SAFE, metadata={"format": "pt"})
        if folder.exists():
            folder.rmdir()
        whole.rename(folder)


def card(name: str, licence: str = "", languages: Sequence[str] = ()) -> str:
    """A model card with a header of what is known."""
    lines = [f"license: {licence}"] if licence else []
    lines += ["language:", *(f"- {one}" for one in languages)] if languages else []
    return "\n".join(["---", *lines, "---", f"# {name}", "", "Written by chiasm.", ""])


def _bytes(content: Mapping[str, Any] | list[Any] | bytes | str) -> bytes:
    if isinstance(content, bytes):
        return content
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    return text.encode()
