"""DOCX → its words, block by block, and the pictures between them. Nothing is unpacked to disk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chiasm.errors import TooLarge
from chiasm.media.archive import Archive, damaged
from chiasm.media.bounds import Deadline, Source
from chiasm.settings import Limits

MAX_XML = 64 << 20  # bytes of a document's text when unpacked: some 20,000 pages
MAX_PICTURES = 500
MAX_DEPTH = 200  # of elements in one another; documents reach 30
_DOCUMENT = "word/document.xml"
_RELATIONS = "word/_rels/document.xml.rels"
_STYLES = "word/styles.xml"


@dataclass(frozen=True, slots=True)
class Docx:
    """A document.

    Attributes:
        text: an empty line after each paragraph, headings marked as in Markdown, the cells of a row parted by
            tabs.
        pictures: before which character each embedded picture stands, and its name in the archive.
    """

    text: str
    pictures: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class DocxPicture:
    """An embedded picture: before which character of the text it stands, and the bytes of its file."""

    position: int
    data: bytes


def read_docx(source: Source, limits: Limits) -> Docx:
    """The words of a Word document, and where its pictures are.

    Raises:
        UnsupportedMedia: not a Word document, damaged, or with a document type of its own (entities).
        TooLarge: beyond ``limits.file_bytes`` or ``limits.decode_seconds``, or far larger than it looks.
    """
    deadline = Deadline(limits.decode_seconds)
    with Archive.of(source, limits) as archive:
        if _DOCUMENT not in archive:
            raise damaged("no Word document in it", "其中没有 Word 文档")
        styles, relations = _Styles(), _Relations()
        for name, target in ((_STYLES, styles), (_RELATIONS, relations)):
            if name in archive:
                archive.parse(name, target, MAX_XML, deadline)
        blocks = _Blocks(relations.targets, styles.headings)
        archive.parse(_DOCUMENT, blocks, MAX_XML, deadline)
    return Docx("".join(blocks.text).rstrip(), tuple(blocks.pictures[:MAX_PICTURES]))


def docx_pictures(
    source: Source, limits: Limits, document: Docx, *, at: float | None = None
) -> Iterator[DocxPicture]:
    """The embedded pictures in order, each once, as files; those that are missing are left out.

    Args:
        document: what :func:`read_docx` gave.
        at: only the first that stands at this character or later.

    Raises:
        TooLarge: one of more than ``limits.file_bytes``, or more than four times that in all.
    """
    wanted = [one for one in document.pictures if at is None or one[0] >= at]
    left = 4 * limits.file_bytes
    seen: set[str] = set()
    with Archive.of(source, limits) as archive:
        for position, name in wanted:
            if name in seen or name not in archive:
                continue
            seen.add(name)
            data = archive.read(name, min(left, limits.file_bytes))
            left -= len(data)
            yield DocxPicture(position, data)
            if at is not None:
                return


class _Relations:
    """What the links of a document lead to: names in the archive by id."""

    def __init__(self) -> None:
        self.targets: dict[str, str] = {}

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take a relationship that stays within the archive."""
        target = attributes.get("Target", "")
        if _local(tag) == "Relationship" and attributes.get("TargetMode") != "External" and target:
            self.targets[attributes.get("Id", "")] = (
                target.removeprefix("/") if target.startswith("/") else f"word/{target}"
            )


class _Styles:
    """Which styles are headings: an id may be anything, its name is always the English one."""

    def __init__(self) -> None:
        self.headings: set[str] = set()
        self._id = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take a style and its name."""
        values = {_local(name): value for name, value in attributes.items()}
        if _local(tag) == "style":
            self._id = values.get("styleId", "")
        elif _local(tag) == "name" and values.get("val", "").lower().startswith(("heading", "title")):
            self.headings.add(self._id)


class _Blocks:
    """Text and pictures of a document, as its elements begin and end."""

    def __init__(self, targets: Mapping[str, str], headings: set[str]) -> None:
        self.text: list[str] = []
        self.pictures: list[tuple[int, str]] = []
        self._targets = targets
        self._headings = headings
        self._length = self._depth = self._cells = 0
        self._passed_over = 0  # depth in a fallback, which says again what was said
        self._in_words = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooLarge(
                f"expected a document whose elements are nested at most {MAX_DEPTH} deep, got more",
                f"文档元素最多嵌套 {MAX_DEPTH} 层，实际更深",
            )
        name = _local(tag)
        if self._passed_over or name == "Fallback":
            self._passed_over += 1
            return
        values = {_local(key): value for key, value in attributes.items()}
        self._in_words = name == "t"
        if name == "tc":
            self._cells += 1
        elif name == "pStyle" and values.get("val") in self._headings:
            self._write("# ")
        elif name in ("blip", "imagedata"):
            link = values.get("embed") or values.get("id") or ""
            if link in self._targets:
                self.pictures.append((self._length, self._targets[link]))

    def data(self, text: str) -> None:
        """Characters."""
        if self._in_words and not self._passed_over:
            self._write(text)

    def end(self, tag: str) -> None:
        """An element ends."""
        self._depth -= 1
        if self._passed_over:
            self._passed_over -= 1
            return
        name = _local(tag)
        self._in_words = False
        if name == "tc":
            self._cells -= 1
        written = {"tab": "\t", "br": "\n", "cr": "\n", "tc": "\t", "tr": "\n", "tbl": "\n"}.get(name, "")
        if name == "p":
            written = " " if self._cells else "\n\n"  # a cell's paragraphs stay in one line
        self._write(written)

    def _write(self, piece: str) -> None:
        if piece:
            self.text.append(piece)
            self._length += len(piece)


def _local(tag: str) -> str:
    """A name without its namespace: there are two sets of them, for the strict and the usual documents."""
    return tag.rpartition("}")[2]
