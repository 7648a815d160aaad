"""Work that is done once and kept: what a locked tower says of each input, and how far a pass has come."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray


class KeptRows:
    """float32 ``[n, width]`` in a file, so that not all of it is in memory.

    Args:
        path: made with zeros if it is not there.
    """

    def __init__(self, path: Path, rows: int, width: int) -> None:
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            open_memmap(temporary, mode="w+", dtype=np.float32, shape=(rows, width)).flush()
            temporary.replace(path)
        self._rows = open_memmap(path, mode="r+")

    def put(self, start: int, block: NDArray[np.float32]) -> None:
        """Write the rows from ``start`` on; on the disk when this returns."""
        self._rows[start : start + len(block)] = block
        self._rows.flush()

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Copies ``[m, width]`` of these rows."""
        return np.array(self._rows[rows])


def read_note(path: Path) -> Any:
    """What :func:`write_note` wrote; nothing before."""
    return json.loads(path.read_bytes()) if path.exists() else None


def write_note(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON, all of it or nothing."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    temporary.replace(path)
