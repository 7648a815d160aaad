"""What bytes are, told by the bytes themselves; names and announced types are never trusted."""

import codecs
from dataclasses import dataclass

from chiasm.errors import UnsupportedMedia
from chiasm.modality import Modality

HEAD_BYTES = 4096  # enough of a file for :func:`sniff`


@dataclass(frozen=True, slots=True)
class MediaType:
    """What kind of content, its MIME type, and the usual extension (with the dot)."""

    modality: Modality
    mime: str
    extension: str


TEXT = MediaType(Modality.TEXT, "text/plain", ".txt")
PDF = MediaType(Modality.TEXT, "application/pdf", ".pdf")
DOCX = MediaType(
    Modality.TEXT, "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"
)
PNG = MediaType(Modality.IMAGE, "image/png", ".png")
JPEG = MediaType(Modality.IMAGE, "image/jpeg", ".jpg")
GIF = MediaType(Modality.IMAGE, "image/gif", ".gif")
WEBP = MediaType(Modality.IMAGE, "image/webp", ".webp")
BMP = MediaType(Modality.IMAGE, "image/bmp", ".bmp")
AVIF = MediaType(Modality.IMAGE, "image/avif", ".avif")
WAV = MediaType(Modality.AUDIO, "audio/wav", ".wav")
FLAC = MediaType(Modality.AUDIO, "audio/flac", ".flac")
OGG = MediaType(Modality.AUDIO, "audio/ogg", ".ogg")
MP3 = MediaType(Modality.AUDIO, "audio/mpeg", ".mp3")
AAC = MediaType(Modality.AUDIO, "audio/aac", ".aac")
M4A = MediaType(Modality.AUDIO, "audio/mp4", ".m4a")
AIFF = MediaType(Modality.AUDIO, "audio/aiff", ".aiff")
WEBM_AUDIO = MediaType(Modality.AUDIO, "audio/webm", ".webm")
MKA = MediaType(Modality.AUDIO, "audio/x-matroska", ".mka")
MP4 = MediaType(Modality.VIDEO, "video/mp4", ".mp4")
MOV = MediaType(Modality.VIDEO, "video/quicktime", ".mov")
WEBM = MediaType(Modality.VIDEO, "video/webm", ".webm")
MKV = MediaType(Modality.VIDEO, "video/x-matroska", ".mkv")
AVI = MediaType(Modality.VIDEO, "video/x-msvideo", ".avi")
OGV = MediaType(Modality.VIDEO, "video/ogg", ".ogv")

DOCUMENTS = (PDF, DOCX)
"""Text with pictures in it: no plain text, whatever their modality says."""

SOUND_ONLY = {MP4: M4A, MOV: M4A, WEBM: WEBM_AUDIO, MKV: MKA, OGV: OGG}
"""What a video container is when it holds no pictures."""

_MAGIC: tuple[tuple[bytes, MediaType], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    (b"fLaC", FLAC),
    (b"ID3", MP3),
    (b"%PDF-", PDF),
)
_RIFF = {b"WAVE": WAV, b"WEBP": WEBP, b"AVI ": AVI}
_WORD_NAMES = (b"[Content_Types].xml", b"_rels/.rels", b"word/")
_QUICKTIME_ATOMS = {b"moov", b"mdat", b"wide", b"free", b"skip"}
_STILL_BRANDS = {b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"jp2 ", b"crx "}
_KNOWN_BUT_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "ZIP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\x1f\x8b", "gzip"),
)
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b")


def sniff(head: bytes) -> MediaType:
    """The type of a file that begins with ``head`` (:data:`HEAD_BYTES` of it are looked at).

    A video container without pictures is found out only when it is opened: see ``probe``.

    Raises:
        UnsupportedMedia: bytes of no type that chiasm reads.
    """
    head = head[:HEAD_BYTES]
    if not head:
        raise UnsupportedMedia("expected a file, got 0 bytes", "应为文件内容，实际为 0 字节")
    found = _by_magic(head) or _office(head) or _riff(head) or _iso(head) or _stream(head) or _text(head)
    if found is None:
        raise _unknown(head)
    return found


def _by_magic(head: bytes) -> MediaType | None:
    found = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    # "BM" begins many a text; a bitmap has a small header size at byte 14
    return None if found is BMP and head[15:18] != b"\0\0\0" else found


def _office(head: bytes) -> MediaType | None:
    """A Word document, as far as the first names in the archive tell; opening it says for certain."""
    if not head.startswith(b"PK\x03\x04") or b"xl/" in head or b"ppt/" in head:
        return None
    return DOCX if any(name in head for name in _WORD_NAMES) else None


def _riff(head: bytes) -> MediaType | None:
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    return None


def _iso(head: bytes) -> MediaType | None:
    if head[4:8] in _QUICKTIME_ATOMS:
        return MOV
    if head[4:8] != b"ftyp":
        return None
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major, brands = head[8:12], {head[i : i + 4] for i in range(16, size - 3, 4)}
    if major in (b"avif", b"avis") or (major in _STILL_BRANDS and b"avif" in brands):
        return AVIF
    if major in _STILL_BRANDS:
        return None
    if major in (b"M4A ", b"M4B "):
        return M4A
    return MOV if major == b"qt  " else MP4


def _stream(head: bytes) -> MediaType | None:
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM if b"webm" in head[:64] else MKV
    if head.startswith(b"OggS"):
        return OGV if b"\x80theora" in head else OGG
    if len(head) >= 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        layer, rate = head[1] >> 1 & 3, head[2] >> 2 & 3
        if layer == 0 and head[1] & 0xF0 == 0xF0:
            return AAC
        if layer in (1, 2) and head[1] >> 3 & 3 != 1 and rate != 3 and head[2] >> 4 != 15:
            return MP3
    return None


def _text(head: bytes) -> MediaType | None:
    if not _CONTROLS.isdisjoint(head):
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return TEXT


def _unknown(head: bytes) -> UnsupportedMedia:
    name = next((name for magic, name in _KNOWN_BUT_REFUSED if head.startswith(magic)), None)
    if name is None and head[4:8] == b"ftyp":
        name = (
            "HEIC" if head[8:10] == b"he" or head[8:12] == b"mif1" else head[8:12].decode("ascii", "replace")
        )
    got_en, got_zh = (name, f" {name}") if name else ("bytes of an unknown kind", "未知类型的数据")
    return UnsupportedMedia(
        "expected a picture (PNG, JPEG, GIF, WebP, BMP, AVIF), sound (WAV, FLAC, Ogg, MP3, AAC, M4A, AIFF), "
        f"video (MP4, MOV, WebM, MKV, AVI), a document (PDF, DOCX) or UTF-8 text, got {got_en}",
        "应为图片（PNG、JPEG、GIF、WebP、BMP、AVIF）、音频（WAV、FLAC、Ogg、MP3、AAC、M4A、AIFF）、"
        f"视频（MP4、MOV、WebM、MKV、AVI）、文档（PDF、DOCX）或 UTF-8 文本，实际为{got_zh}",
    )
