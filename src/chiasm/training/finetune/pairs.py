"""Pairs of a picture and a text, from a list or from a folder. The pictures are looked at later."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiasm.errors import ChiasmError, DataError, InvalidInput
from chiasm.media import decode, part_of
from chiasm.modality import Modality, Text
from chiasm.settings import Limits

LISTS = ("metadata.jsonl", "metadata.csv")
"""Lists that speak for the folder they lie in, as Hugging Face's ``imagefolder`` has them."""
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif"})
_FILE = ("file", "file_name")
_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture's file, and what is said of it."""

    file: Path
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A file or a line of a list that cannot be used, and why, in English and in Chinese."""

    name: str
    en: str
    zh: str

    @classmethod
    def of(cls, name: str, error: ChiasmError) -> "Refused":
        """What an error says of it."""
        return cls(name, error.en, error.zh)


@dataclass(slots=True)
class Pairs:
    """What was found.

    Attributes:
        pairs: in the order of the list, or of the names. refused: what was left out for a reason.
        alone: pictures of a folder that have no text beside them.
    """

    pairs: list[Pair] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    alone: int = 0


def read_pairs(data: Path, limits: Limits, *, skip_bad: bool = False) -> Pairs:
    """The pairs of a list or of a folder.

    Args:
        data: a ``.jsonl`` or ``.csv`` file with the columns ``file`` (or ``file_name``; relative to the list)
            and ``text``; or a folder: with ``metadata.jsonl`` or ``metadata.csv`` that list, else every
            picture in it or below that has a ``.txt`` of the same name.
        limits: bounds on a text.
        skip_bad: leave lines with an empty or an impossible text out instead of failing.

    Raises:
        DataError: no such file or folder, a list with other columns or one that cannot be read, no pairs.
        ChiasmError: a text that cannot be used; the message names where.
    """
    found = Pairs()
    for where, file, text in _listed(data, limits, found):
        try:
            found.pairs.append(Pair(file, _usable(text, where, limits)))
        except ChiasmError as error:
            if not skip_bad:
                raise
            found.refused.append(Refused.of(where, error))
    if not found.pairs:
        raise DataError(
            f"expected pairs of a picture and a text in {data}, got none: neither {' nor '.join(LISTS)}, "
            "nor pictures with a .txt of the same name",
            f"{data} 中没有图文对：既没有 {'、'.join(LISTS)}，也没有带同名 .txt 的图片",
            param="data",
        )
    return found


def _listed(data: Path, limits: Limits, found: Pairs) -> Iterator[tuple[str, Path, str | ChiasmError]]:
    """Where a pair comes from, its picture, and its text or why that cannot be read."""
    if data.is_file():
        yield from _of_list(data)
        return
    if not data.is_dir():
        raise DataError(
            f"expected a folder or a list of pairs, got {data}, which does not exist",
            f"应为图文对的文件夹或清单，实际 {data} 不存在",
            param="data",
        )
    lists = [data / name for name in LISTS if (data / name).is_file()]
    if len(lists) > 1:
        raise DataError(
            f"{data}: expected one of {' and '.join(LISTS)}, got both",
            f"{data}：{'、'.join(LISTS)} 只应有一个，实际两个都有",
            param="data",
        )
    if lists:
        yield from _of_list(lists[0])
        return
    for file in sorted(data.rglob("*")):
        if file.suffix.lower() in PICTURES and file.is_file():
            beside = file.with_suffix(".txt")
            if beside.is_file():
                yield str(beside), file, _read(beside, limits)
            else:
                found.alone += 1


def _read(path: Path, limits: Limits) -> str | ChiasmError:
    try:
        part = decode(path, limits, expect=Modality.TEXT)
    except ChiasmError as error:
        return error.about(str(path))
    assert isinstance(part, Text)
    return part.text


def _usable(text: str | ChiasmError, where: str, limits: Limits) -> str:
    """A text without the space around it; raises InvalidInput or TooLarge."""
    if isinstance(text, ChiasmError):
        raise text
    text = text.strip()
    if not text:
        raise InvalidInput(f"{where}: expected a text, got an empty one", f"{where}：文本为空", param="text")
    try:
        text.encode()
        part_of(text, limits)
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{where}: expected Unicode text, got a lone surrogate at position {error.start}",
            f"{where}：应为合法的 Unicode 文本，实际在位置 {error.start} 处有孤立的代理字符",
            param="text",
        ) from error
    except ChiasmError as error:
        raise error.about(where) from None
    return text


def _of_list(path: Path) -> Iterator[tuple[str, Path, str]]:
    kinds = {".jsonl": _json_rows, ".csv": _csv_rows}
    if path.suffix.lower() not in kinds:
        raise DataError(
            f"expected a list in {' or '.join(kinds)}, got {path.name}",
            f"清单应为 {' 或 '.join(kinds)} 文件，实际为 {path.name}",
            param="data",
        )
    for where, row in kinds[path.suffix.lower()](path):
        columns = set(row)
        name = next((name for name in _FILE if columns == {name, "text"}), None)
        if name is None:
            raise DataError(
                f"{where}: expected the columns file (or file_name) and text, got {sorted(columns)}",
                f"{where}：列应为 file（或 file_name）与 text，实际为 {sorted(columns)}",
                param="data",
            )
        file, text = row[name], row["text"]
        if not isinstance(file, str) or not isinstance(text, str) or not file or "\0" in file:
            raise DataError(
                f"{where}: expected the name of a file and a text, got {row!r:.200}",
                f"{where}：应为文件名与文本，实际为 {row!r:.200}",
                param="data",
            )
        yield where, path.parent / file, text


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _broken(where, str(error)) from error
        if not isinstance(row, dict):
            raise _broken(where, f"{type(row).__name__}")
        yield where, row


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = csv.reader(_lines(path), strict=True)
    try:
        header = next(rows, [])
        for row in rows:
            where = f"{path.name}:{rows.line_num}"
            if row and len(row) != len(header):
                raise _broken(where, f"{len(row)} values under {len(header)} columns")
            if row:
                yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise _broken(f"{path.name}:{rows.line_num}", str(error)) from error


def _lines(path: Path) -> Iterator[str]:
    """Lines of UTF-8, none of which may fill the memory; a byte order mark, as spreadsheets write it, is not
    text."""
    try:
        opened = path.open("rb")
    except OSError as error:
        raise _broken(path.name, error.strerror or str(error)) from error
    with opened as file:
        for number, line in enumerate(iter(lambda: file.readline(_LINE_BYTES + 1), b""), 1):
            if len(line) > _LINE_BYTES:
                raise _broken(f"{path.name}:{number}", f"more than {_LINE_BYTES} bytes")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _broken(f"{path.name}:{number}", "bytes that are not UTF-8") from error


def _broken(where: str, got: str) -> DataError:
    return DataError(
        f"{where}: expected a line with a file and a text in UTF-8, got: {got}",
        f"{where}：应为一行 UTF-8 编码的文件与文本，实际为：{got}",
        param="data",
    )
