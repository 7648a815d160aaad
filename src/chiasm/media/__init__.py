"""Untrusted bytes → the objects of ``chiasm.modality``: sniff, fetch, decode, bounded. No torch."""

from chiasm.media.decode import MediaInfo, decode, decode_text, probe
from chiasm.media.documents import decoded_pictures, docx_picture, page_picture
from chiasm.media.docx import Docx, read_docx
from chiasm.media.exif import photo_facts
from chiasm.media.fetch import fetch, from_base64
from chiasm.media.fingerprint import picture_fingerprint, text_fingerprint
from chiasm.media.image import decode_image
from chiasm.media.ocr import TextReader, blocks, can_read
from chiasm.media.part import item_of_value, part_of
from chiasm.media.pdf import DocumentPage, pdf_pages
from chiasm.media.segments import Segment, segment_at, segments
from chiasm.media.thumbnail import thumbnail
from chiasm.media.types import MediaType, sniff

__all__ = [
    "DocumentPage",
    "Docx",
    "MediaInfo",
    "MediaType",
    "Segment",
    "TextReader",
    "blocks",
    "can_read",
    "decode",
    "decode_image",
    "decode_text",
    "decoded_pictures",
    "docx_picture",
    "fetch",
    "from_base64",
    "item_of_value",
    "page_picture",
    "part_of",
    "pdf_pages",
    "photo_facts",
    "picture_fingerprint",
    "probe",
    "read_docx",
    "segment_at",
    "segments",
    "sniff",
    "text_fingerprint",
    "thumbnail",
]
