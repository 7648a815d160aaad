"""How much memory a model will take, before it is loaded."""

from pathlib import Path

from chiasm.checkpoints.layout import resolve

SUFFIXES = frozenset({".safetensors", ".bin", ".gguf"})


def weight_of(source: str | Path) -> int:
    """Bytes of the files with weights: those of half precision take twice as much once they are loaded.

    Raises:
        CheckpointError: there is no such model.
    """
    folder = resolve(source)
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in SUFFIXES)
