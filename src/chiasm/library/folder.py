"""Keeping a store in step with a folder: what is there, what is known, and what follows from that."""

import mimetypes
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chiasm.errors import ChiasmError, NotFound
from chiasm.library.results import FileProblem
from chiasm.stores import EntryRecord
from chiasm.stores.files import hash_file

SKIPPED_NAMES = frozenset({"CVS", "__pycache__", "node_modules"})


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A regular file in the folder."""

    path: str
    size: int
    mtime_ns: int


@dataclass(kw_only=True)
class Scan:
    """All regular files by path, and what could not be looked at."""

    files: dict[str, Seen] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)  # what was there is neither here nor gone
    failed: list[FileProblem] = field(default_factory=list)


@dataclass(kw_only=True)
class Plan:
    """What has to be done to bring a store in step."""

    new: list[Seen] = field(default_factory=list)
    changed: list[tuple[Seen, EntryRecord]] = field(default_factory=list)
    moved: list[tuple[Seen, EntryRecord]] = field(default_factory=list)
    touched: list[tuple[Seen, EntryRecord]] = field(default_factory=list)  # a new time, the old content
    gone: list[EntryRecord] = field(default_factory=list)
    unchanged: int = 0
    failed: list[FileProblem] = field(default_factory=list)


def folder_of(path: Path) -> Path:
    """The folder itself, absolute and without links.

    Raises:
        NotFound: it is not a folder that can be read.
    """
    try:
        folder = path.expanduser().resolve(strict=True)
        if not folder.is_dir():
            raise NotADirectoryError(20, "not a folder")
        with os.scandir(folder):
            return folder
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFound(
            f"expected a folder that can be read, got {path}: {reason}",
            f"应为可读取的文件夹，实际为 {path}：{reason}",
            param="folder",
        ) from error


def scan(folder: Path, *, exclude: Iterable[Path] = ()) -> Scan:
    """Walk ``folder``. Hidden names, version control and links are left out, so that no link leads in circles
    or elsewhere; so are the folders in ``exclude``. Names come in their order, a folder's own files first."""
    found = Scan()
    left_out = {str(path.resolve()) for path in exclude}
    waiting = [str(folder)]
    while waiting:
        current = waiting.pop()
        inner: list[str] = []
        try:
            with os.scandir(current) as listing:
                for entry in sorted(listing, key=lambda e: e.name):
                    _look_at(entry, found, inner, left_out)
        except OSError as error:
            found.unreadable.append(current)
            found.failed.append(_problem(current, error))
        waiting.extend(reversed(inner))
    return found


def _look_at(entry: "os.DirEntry[str]", found: Scan, folders: list[str], left_out: set[str]) -> None:
    if entry.name.startswith(".") or entry.name in SKIPPED_NAMES:
        return
    try:
        entry.path.encode()
        status = entry.stat(follow_symlinks=False)
    except UnicodeEncodeError:
        shown = os.fsencode(entry.path).decode("utf-8", "replace")
        found.failed.append(FileProblem(path=shown, en="its name is not UTF-8", zh="文件名不是 UTF-8 编码"))
        return
    except OSError as error:
        found.unreadable.append(entry.path)
        found.failed.append(_problem(entry.path, error))
        return
    if stat.S_ISDIR(status.st_mode):
        if entry.path not in left_out:
            folders.append(entry.path)
    elif stat.S_ISREG(status.st_mode):
        found.files[entry.path] = Seen(path=entry.path, size=status.st_size, mtime_ns=status.st_mtime_ns)


def plan(found: Scan, known: Sequence[EntryRecord], *, max_bytes: int) -> Plan:
    """Compare what is there with what is known.

    A file is the same if its path, size and time are; a new time alone is looked into by hash; a new path
    with the content of a file that went is that file, moved. New recordings and videos come last.
    """
    result = Plan(failed=list(found.failed))
    by_path = {entry.file.path or "": entry for entry in known}
    missing = [
        entry for path, entry in by_path.items() if path not in found.files and not _hidden(path, found)
    ]
    by_size: dict[int, list[EntryRecord]] = {}
    for entry in missing:
        if entry.file.sha256 is not None:
            by_size.setdefault(entry.file.bytes, []).append(entry)
    moved: set[str] = set()
    for seen in found.files.values():
        before = by_path.get(seen.path)
        if before is not None:
            _compare(seen, before, result, max_bytes)
            continue
        origin = _origin(seen, by_size, moved, max_bytes)
        if origin is None:
            result.new.append(seen)
        else:
            moved.add(origin.file.id)
            result.moved.append((seen, origin))
    result.new.sort(key=_sounds)
    result.gone = [entry for entry in missing if entry.file.id not in moved]
    return result


def _sounds(seen: Seen) -> bool:
    """Whether the name is one of a recording or a video: those take a hundred times as long as a picture, and
    come last. What a file is, its content says; here it is a matter of order only."""
    guessed, _ = mimetypes.guess_type(seen.path)
    return guessed is not None and guessed.startswith(("audio/", "video/"))


def _compare(seen: Seen, before: EntryRecord, result: Plan, max_bytes: int) -> None:
    file = before.file
    if (seen.size, seen.mtime_ns) == (file.bytes, file.mtime_ns) and before.status != "in_progress":
        if before.problem is not None:
            result.failed.append(FileProblem(path=seen.path, en=before.problem.en, zh=before.problem.zh))
        else:
            result.unchanged += 1
    elif seen.size == file.bytes and before.status == "completed" and _hash(seen, max_bytes) == file.sha256:
        result.touched.append((seen, before))
    else:
        result.changed.append((seen, before))


def _origin(
    seen: Seen, by_size: Mapping[int, list[EntryRecord]], moved: set[str], max_bytes: int
) -> EntryRecord | None:
    candidates = [entry for entry in by_size.get(seen.size, ()) if entry.file.id not in moved]
    if not candidates:
        return None
    digest = _hash(seen, max_bytes)
    return next((entry for entry in candidates if entry.file.sha256 == digest), None)


def _hash(seen: Seen, max_bytes: int) -> str | None:
    try:
        return hash_file(Path(seen.path), max_bytes=max_bytes).sha256
    except (OSError, ChiasmError):
        return None  # indexing it will say what is wrong


def _hidden(path: str, found: Scan) -> bool:
    return any(path == closed or path.startswith(closed + os.sep) for closed in found.unreadable)


def located(entry: EntryRecord, seen: Seen, folder: Path) -> EntryRecord:
    """The entry with its file where it was seen."""
    name = Path(seen.path).relative_to(folder).as_posix()
    return replace(entry, file=replace(entry.file, path=seen.path, name=name, mtime_ns=seen.mtime_ns))


def _problem(path: str, error: OSError) -> FileProblem:
    reason = error.strerror or str(error)
    return FileProblem(path=path, en=f"cannot be read: {reason}", zh=f"无法读取：{reason}")
