"""What was measured of a finished checkpoint, and its card: changes no vector, so the revision stays."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm.checkpoints import layout
from chiasm.hub.digest import digest_of


def annotate(folder: Path, *, metrics: Mapping[str, Any], card: str) -> None:
    """Replace a checkpoint's ``metrics.json`` and ``README.md`` and bring its manifest up to date.

    Raises:
        CheckpointError: the folder is not a checkpoint.
    """
    manifest = layout.read_json(layout.resolve(folder) / layout.MANIFEST)
    texts = {layout.METRICS: json.dumps(metrics, ensure_ascii=False, indent=2) + "\n", layout.CARD: card}
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
        manifest["files"][name] = digest_of(folder / name)
    manifest_text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
    temporary = folder / f"{layout.MANIFEST}.tmp"
    temporary.write_bytes(manifest_text.encode())
    temporary.replace(folder / layout.MANIFEST)
