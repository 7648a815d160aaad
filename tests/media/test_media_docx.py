"""DOCX: words, tables, pictures; archives and XML made to cost more than they weigh."""

import io
import struct
import zipfile

import pytest
from PIL import Image as Pillow

from chiasm.errors import ChiasmError, InvalidInput, TooLarge, UnsupportedMedia
from chiasm.media import decode, decoded_pictures, docx_picture, probe, read_docx
from chiasm.media import docx as reading
from chiasm.modality import Image, Modality, Text
from chiasm.settings import Limits
from document_files import docx, paragraph, placed

LIMITS = Limits()
TABLE = (
    "<w:tbl><w:tr><w:tc>{}</w:tc><w:tc>{}</w:tc></w:tr><w:tr><w:tc>{}</w:tc><w:tc>{}</w:tc></w:tr></w:tbl>"
)


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_paragraphs_headings_and_tables_are_text() -> None:
    table = TABLE.format(*map(paragraph, ("fruit", "colour", "苹果", "红")))
    body = paragraph("On fruit", "1") + paragraph("Apples are red.") + table + paragraph("The end")
    text = read_docx(docx(body), LIMITS).text
    assert text.startswith("# On fruit\n\nApples are red.\n\n")
    rows = [[cell.strip() for cell in line.split("\t") if cell.strip()] for line in text.splitlines()]
    assert ["fruit", "colour"] in rows
    assert ["苹果", "红"] in rows
    assert text.endswith("The end")


def test_what_is_said_twice_or_struck_out_is_read_once() -> None:
    said = "<mc:AlternateContent><mc:Choice>{}</mc:Choice><mc:Fallback>{}</mc:Fallback></mc:AlternateContent>"
    gone = "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
    text = read_docx(docx(said.format(paragraph("box"), paragraph("box")) + gone), LIMITS).text
    assert text.split() == ["box"]


def test_the_pictures_stand_where_they_are_in_the_text() -> None:
    body = paragraph("before") + placed("a") + paragraph("after") + placed("b") + placed("a") + placed("gone")
    data = docx(body, {"a": png("red"), "b": png("blue"), "c": b"not a picture"})
    document = read_docx(data, LIMITS)
    found = list(decoded_pictures(data, LIMITS, document))
    assert [picture.pixels[0, 0].tolist() for _, picture in found] == [[255, 0, 0], [0, 0, 255]]
    assert [document.text[:position].split() for position, _ in found] == [["before"], ["before", "after"]]
    assert docx_picture(data, LIMITS, at=found[1][0]).pixels[0, 0, 2] == 255
    with pytest.raises(InvalidInput, match="with a picture"):
        docx_picture(docx(paragraph("x")), LIMITS)


def test_a_picture_that_cannot_be_read_leaves_the_others() -> None:
    data = docx(placed("emf") + placed("a"), {"emf": b"\x01\0\0\0 EMF", "a": png("red")})
    assert len(list(decoded_pictures(data, LIMITS, read_docx(data, LIMITS)))) == 1


def test_a_document_for_one_vector() -> None:
    part = decode(docx(paragraph("words")), LIMITS, expect=Modality.TEXT)
    assert isinstance(part, Text)
    assert part.text == "words"
    assert isinstance(decode(docx(placed("a"), {"a": png("red")}), LIMITS), Image)
    assert probe(docx(""), LIMITS).type.extension == ".docx"


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("before", [ENTITIES, EXTERNAL, '<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd">'])
@pytest.mark.parametrize("part", ["document", "styles", "relations"])
def test_no_entity_is_expanded_and_nothing_else_is_opened(before: str, part: str) -> None:
    data = docx("", **{part: f"{before}<w>&a;&c;</w>".encode()})
    with pytest.raises(UnsupportedMedia, match="document type"):
        read_docx(data, LIMITS)


def test_what_unpacks_to_far_more_than_it_weighs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_XML", 1 << 20)
    bomb = docx("<w:p/>" * 400_000)
    assert len(bomb) < 20_000
    with pytest.raises(TooLarge, match="1048576 bytes"):
        read_docx(bomb, LIMITS)
    picture = docx(placed("a"), {"a": bytes(3_000_000)})
    with pytest.raises(TooLarge, match="1000000 bytes"):
        docx_picture(picture, Limits(file_bytes=1_000_000))


def test_a_list_of_millions_of_names_is_refused_before_it_is_read() -> None:
    data = docx(paragraph("x"))
    at = data.rfind(b"PK\x05\x06")
    claimed = data[: at + 12] + struct.pack("<I", 1 << 30) + data[at + 16 :]
    with pytest.raises(TooLarge, match="file names"):
        read_docx(claimed, LIMITS)
    longer = data[:at] + b"PK\x06\x07" + bytes(16) + data[at:]
    with pytest.raises(TooLarge, match="file names"):
        read_docx(longer, LIMITS)


def test_elements_in_one_another_without_end_are_refused() -> None:
    with pytest.raises(TooLarge, match="nested"):
        read_docx(docx("<w:tbl>" * 5000 + "</w:tbl>" * 5000), LIMITS)


def test_a_document_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(TooLarge) as caught:
        read_docx(docx(paragraph("x") * 5000), Limits(decode_seconds=0))
    assert caught.value.code == "decode_timeout"


def test_other_archives_are_not_taken_for_documents() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("other.xml", "<x/>")
    with pytest.raises(UnsupportedMedia, match="no Word document"):
        read_docx(buffer.getvalue(), LIMITS)
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(UnsupportedMedia, match="got ZIP"):
        decode(buffer.getvalue(), LIMITS)
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(UnsupportedMedia, match="unusual compression"):
        read_docx(buffer.getvalue(), LIMITS)


WHOLE = docx(paragraph("one") + placed("a"), {"a": png("red")})


@pytest.mark.parametrize("cut", range(4, len(WHOLE), 131))
def test_every_way_of_being_cut_off_is_an_error_of_ours(cut: int) -> None:
    with pytest.raises(ChiasmError, match="expected"):
        read_docx(WHOLE[:cut], LIMITS)


@pytest.mark.parametrize(
    "document", [b"", b"<w:p", b"\xff\xfe\0", b"<?xml version='1.0' encoding='x'?><a/>", b"<a></b>"]
)
def test_xml_that_is_none_is_an_error_of_ours(document: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="XML"):
        read_docx(docx("", document=document), LIMITS)
