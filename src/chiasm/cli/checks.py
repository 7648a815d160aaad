"""What ``chiasm doctor`` looks at; each check says what is missing and how to get it."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from chiasm.errors import ChiasmError, NotFound
from chiasm.settings import Settings

CORE = (
    "numpy",
    "torch",
    "safetensors",
    "tokenizers",
    "pillow",
    "av",
    "soxr",
    "defusedxml",
    "flask",
    "granian",
    "pydantic",
    "msgspec",
    "pyzmq",
    "sqlalchemy",
    "usearch",
    "dbos",
    "pocketsphinx",
    "pypinyin",
    "pypdfium2",
    "typer",
    "watchfiles",
    "rich",
)
OPTIONAL = {
    "openvino": "pip install openvino",
    "transformers": "pip install 'chiasm[hf]'",
    "rapidocr": "pip install 'chiasm[ocr]'",
}
CORPUS_TOOLS = {
    "npm": "apt-get install npm",
    "espeak-ng": "apt-get install espeak-ng",
    "flite": "apt-get install flite",
}
_PICTURES, _SIDE = 16, 320


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding.

    Attributes:
        ok: whether it is as it should be.
        needed: whether chiasm cannot work without it.
        advice_en, advice_zh: what to do, when it is not ok.
    """

    name: str
    found: str
    ok: bool = True
    needed: bool = True
    advice_en: str = ""
    advice_zh: str = ""


def run_checks(settings: Settings, *, clock: Callable[[], float] = time.perf_counter) -> Iterator[Check]:
    """All checks, the quick ones first."""
    yield Check(
        name="python", found=f"{platform.python_version()} ({platform.machine()}, {os.cpu_count()} cores)"
    )
    yield from packages()
    yield from tools()
    yield data_dir(settings.library.data_dir)
    yield from elsewhere(settings)
    yield from model(settings, clock)


def packages() -> Iterator[Check]:
    """Installed versions."""
    for name in CORE:
        version = _version(name)
        advice = "" if version else f"pip install {name}"
        yield Check(name=name, found=version or "–", ok=bool(version), advice_en=advice, advice_zh=advice)
    for name, command in OPTIONAL.items():
        version = _version(name)
        yield Check(
            name=name,
            found=version or "–",
            ok=bool(version),
            needed=False,
            advice_en=f"optional: {command}",
            advice_zh=f"可选：{command}",
        )


def tools() -> Iterator[Check]:
    """Programs that only building the training corpus needs."""
    for name, command in CORPUS_TOOLS.items():
        path = shutil.which(name)
        yield Check(
            name=name,
            found=path or "–",
            ok=path is not None,
            needed=False,
            advice_en=f"only for `chiasm data build`: {command}",
            advice_zh=f"仅 `chiasm data build` 需要：{command}",
        )


def data_dir(folder: Path) -> Check:
    """Whether the data directory can be written, who holds it, and how much room there is."""
    from chiasm.stores.lock import holder_of

    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    holder = holder_of(folder)
    who = f", process {holder.pid}" if holder else ""
    return Check(
        name="data directory",
        found=f"{folder.absolute()}{who}, {free:.1f} GiB free",
        ok=os.access(existing, os.W_OK) and free > 0.5,
        advice_en="choose a folder that can be written and has room with --data-dir",
        advice_zh="请用 --data-dir 选择可写且空间充足的目录",
    )


def elsewhere(settings: Settings) -> Iterator[Check]:
    """Whether the database and the bucket answer, where the settings name them. Changes nothing."""
    from chiasm.stores import open_files
    from chiasm.stores.database import Database, place_of, url_of

    library = settings.library
    if library.database_url:
        try:
            place = place_of(url_of(library.database_url))
            Database(library.database_url, own=False).close()
            yield Check(name="database", found=place)
        except NotFound:
            yield Check(name="database", found=f"{place}, empty")
        except ChiasmError as error:
            yield Check(name="database", found="–", ok=False, advice_en=error.en, advice_zh=error.zh)
    if library.files_url:
        try:
            with tempfile.TemporaryDirectory() as cache:
                open_files(library, max_bytes=settings.limits.file_bytes, cache=Path(cache))
            yield Check(name="files", found=library.files_url)
        except ChiasmError as error:
            yield Check(name="files", found="–", ok=False, advice_en=error.en, advice_zh=error.zh)


def model(settings: Settings, clock: Callable[[], float]) -> Iterator[Check]:
    """Whether the model loads, what computes it, and how fast."""
    import numpy as np

    from chiasm.inference import load
    from chiasm.modality import Image

    begin, chosen = clock(), settings.model
    try:
        loaded = load(chosen.first.source, device=chosen.device, precision=chosen.precision)
    except ChiasmError as error:
        yield Check(name="model", found="–", ok=False, advice_en=error.en, advice_zh=error.zh)
        return
    about = loaded.description
    yield Check(name="model", found=f"{about.name} {about.revision}, loaded in {clock() - begin:.1f} s")
    noise = np.random.default_rng(0).integers(0, 256, (_PICTURES, _SIDE, _SIDE, 3), dtype=np.uint8)
    pictures = [Image(pixels) for pixels in noise]
    loaded.embed(pictures[:1])
    begin = clock()
    loaded.embed(pictures)
    yield Check(name="backend", found=f"{about.backend}, {_PICTURES / (clock() - begin):.0f} pictures/s")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
