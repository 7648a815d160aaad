"""A ZIP archive of XML that may be a trap: its size is looked at first, and nothing goes beyond a bound."""

import zipfile
import zlib
from typing import IO, Any, Self

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from chiasm.errors import TooLarge, UnsupportedMedia
from chiasm.media.bounds import Deadline, Source, open_source
from chiasm.settings import Limits

MAX_DIRECTORY = 4 << 20  # bytes of the list of names: some 50,000
_AT_ONCE = 1 << 16
_END = b"PK\x05\x06"
_END_BYTES = 22
_END_64 = b"PK\x06\x07"


class Archive:
    """The files of an archive by name."""

    def __init__(self, file: IO[bytes], opened: zipfile.ZipFile) -> None:
        self._file = file
        self._zip = opened
        self._names = frozenset(opened.namelist())

    @classmethod
    def of(cls, source: Source, limits: Limits) -> Self:
        """Open one.

        Raises:
            UnsupportedMedia: it is damaged, or none.
            TooLarge: its list of names is too long.
        """
        file = open_source(source, limits)
        try:
            _check_directory(file)
            return cls(file, zipfile.ZipFile(file))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            file.close()
            raise damaged(str(error), "压缩包已损坏") from error
        except BaseException:
            file.close()
            raise

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()
        self._file.close()

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes.

        Raises:
            UnsupportedMedia: it is damaged, or packed in an unusual way.
            TooLarge: more than ``most`` of them.
        """
        return b"".join(self._pieces(name, most))

    def parse(self, name: str, target: Any, most: int, deadline: Deadline) -> None:
        """Run an XML file past ``target``, whose ``start(tag, attributes)`` and, where it has them,
        ``data(text)`` and ``end(tag)`` are called. No entity is expanded and nothing else is opened.

        Raises:
            UnsupportedMedia: not well-formed, or with a document type.
            TooLarge: more than ``most`` bytes, or past the deadline.
        """
        parser = DefusedXMLParser(target=target, forbid_dtd=True)
        try:
            for piece in self._pieces(name, most):
                deadline.check()
                parser.feed(piece)
            parser.close()
        except DefusedXmlException as error:
            raise damaged("a document type with entities", "含有文档类型或实体声明") from error
        except (ParseError, ValueError, LookupError) as error:
            raise damaged(f"XML that cannot be read ({error})", "XML 无法读取") from error

    def _pieces(self, name: str, most: int) -> Any:
        total = 0
        try:
            # LZMA and the like may ask for gigabytes before the first byte
            if self._zip.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise damaged("an unusual compression", "压缩方式不常见")
            with self._zip.open(name) as opened:
                while piece := opened.read(_AT_ONCE):
                    total += len(piece)
                    if total > most:
                        raise TooLarge(
                            f"expected a document whose parts unpack to at most {most} bytes, got more",
                            f"文档各部分解压后最多 {most} 字节，实际更大",
                        )
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
            raise damaged(str(error), "压缩包已损坏") from error


def damaged(en: str, zh: str) -> UnsupportedMedia:
    """The error for a document that is none, or not intact."""
    return UnsupportedMedia(
        f"expected an intact Word document (DOCX), got {en}", f"应为完好的 Word 文档（DOCX），实际：{zh}"
    )


def _check_directory(file: IO[bytes]) -> None:
    """The list of names is read whole when an archive is opened: refuse one of millions before that."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(max(0, size - _END_BYTES - 0xFFFF))
    tail = file.read()
    file.seek(0)
    at = len(tail) - _END_BYTES
    if not (at >= 0 and tail[at : at + 4] == _END and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_BYTES:
        raise damaged("an archive that is cut off", "压缩包不完整")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    if directory > MAX_DIRECTORY or tail[max(0, at - 20) : at].startswith(_END_64):
        raise TooLarge(
            f"expected a document of at most {MAX_DIRECTORY} bytes of file names, got more",
            f"文档内的文件名列表最多 {MAX_DIRECTORY} 字节，实际更多",
        )
