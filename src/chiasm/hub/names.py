"""Models of hubs: ``hf:owner/name@revision`` and ``modelscope:owner/name@revision``, kept in a folder.

What was asked for is pinned to the commit that it meant. A file counts only when its hash is what the hub
lists; half of one is gone on with. A folder without its receipt is not a model.
Only ``hub.pull`` talks to hubs; loading never does.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chiasm.errors import CheckpointError

HUBS = ("hf", "modelscope")
RECEIPT = "pulled.json"
CACHE = "MODEL_HUB_CACHE"
_SOURCE = re.compile(r"(hf|modelscope):([\w.-]{1,96})/([\w.-]{1,96})(?:@([\w./-]{1,100}))?")


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A model's name on a hub; ``revision`` is a branch, a tag or a commit."""

    hub: str
    owner: str
    name: str
    revision: str | None = None

    @property
    def id(self) -> str:
        """``owner/name``."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{self.hub}:{self.id}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a folder holds: where it came from, at which commit, and the SHA-256 of each file."""

    source: str
    revision: str
    commit: str
    licence: str
    bytes: int
    files: Mapping[str, str]


def is_hub_source(source: object) -> bool:
    """Whether this names a model on a hub rather than a folder."""
    return isinstance(source, str) and source.startswith(tuple(f"{hub}:" for hub in HUBS))


def parse_source(source: str) -> HubSource:
    """The parts of a name.

    Raises:
        CheckpointError: it is none.
    """
    match = _SOURCE.fullmatch(source)
    parts = () if match is None else (match[2], match[3], *(match[4] or "").split("/"))
    if match is None or any(part in {".", ".."} for part in parts):
        raise CheckpointError(
            f"expected hf:OWNER/NAME or modelscope:OWNER/NAME, perhaps with @REVISION, got {source!r}",
            f"应为 hf:所有者/名称 或 modelscope:所有者/名称，可加 @版本，实际为 {source!r}",
            param="model.source",
        )
    return HubSource(hub=match[1], owner=match[2], name=match[3], revision=match[4])


def cache_folder() -> Path:
    """Where models of hubs are kept: ``MODEL_HUB_CACHE``, else ``chiasm/hub`` in the user's cache."""
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "chiasm" / "hub"


def folder_of(source: HubSource) -> Path:
    """The folder of all commits of a model."""
    return cache_folder() / f"{source.hub}--{source.owner}--{source.name}"


def pulled(source: HubSource) -> Path | None:
    """The folder that holds this model; the latest that was pulled if no revision is named."""
    found = [(path, receipt) for path in folder_of(source).glob("*") if (receipt := read_receipt(path))]
    wanted = [
        path
        for path, receipt in found
        if source.revision is None or source.revision in {receipt.commit, receipt.revision}
    ]
    return max(wanted, key=lambda path: (path / RECEIPT).stat().st_mtime_ns, default=None)


def located(source: HubSource) -> Path:
    """As :func:`pulled`.

    Raises:
        CheckpointError: it has not been pulled.
    """
    folder = pulled(source)
    if folder is None:
        raise CheckpointError(
            f"expected {source} to have been pulled; run `chiasm pull {source}`",
            f"尚未下载 {source}；请先运行 `chiasm pull {source}`",
            param="model.source",
            code="model_not_pulled",
        )
    return folder


def all_pulled() -> list[Receipt]:
    """All models that are kept."""
    receipts = [read_receipt(path) for path in sorted(cache_folder().glob("*--*--*/*"))]
    return [receipt for receipt in receipts if receipt is not None]


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt of a folder, if it has one."""
    try:
        found: Any = json.loads((folder / RECEIPT).read_bytes())
        return Receipt(**found)
    except (OSError, ValueError, TypeError):
        return None


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Make a folder count, atomically."""
    temporary = folder / f"{RECEIPT}.part"
    temporary.write_text(json.dumps(asdict(receipt), indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / RECEIPT)
