"""PDF: pages as text and pictures; what is hostile brings down a process of its own, at worst."""

from contextlib import suppress
from pathlib import Path

import pytest

from chiasm.errors import InvalidInput, NotFound, TooLarge, UnsupportedMedia
from chiasm.media import decode, page_picture, pdf_pages, probe
from chiasm.media import pdf as reading
from chiasm.modality import Image, Modality, Text
from chiasm.settings import Limits
from document_files import assembled, encrypted, pdf

LIMITS = Limits()
RED = "!1 0 0 rg 0 0 595 842 re f"


def test_each_page_is_text_and_a_picture(tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(pdf(["Apples and pears", RED]))
    first, second = pdf_pages(tmp_path / "x.pdf", LIMITS, side=200)
    assert (first.number, first.text) == (1, "Apples and pears")
    assert (second.number, second.text) == (2, "")
    assert first.picture is not None
    assert first.picture.pixels.shape == (200, 142, 3)
    assert first.picture.pixels.min() < 100 < first.picture.pixels.mean(), "dark words on white paper"
    assert second.picture is not None
    assert second.picture.pixels[100, 70].tolist() == [255, 0, 0], "red, green, blue in this order"


def test_one_page_may_be_asked_for() -> None:
    data = pdf(["one", "two", "three"])
    (page,) = pdf_pages(data, LIMITS, side=0, only=2)
    assert (page.text, page.picture) == ("two", None)
    with pytest.raises(InvalidInput, match="page from 1 to 3, got 4"):
        list(pdf_pages(data, LIMITS, only=4))


def test_a_document_for_one_vector_is_its_words_or_else_its_first_page() -> None:
    part = decode(pdf(["one", "two"]), LIMITS, expect=Modality.TEXT)
    assert isinstance(part, Text)
    assert part.text == "one\n\ntwo"
    assert decode(pdf(["one", "two"]), Limits(text_chars=4)).text == "one"  # type: ignore[union-attr]
    assert isinstance(decode(pdf([RED]), LIMITS), Image)
    assert probe(pdf(["x"]), LIMITS).type.mime == "application/pdf"
    with pytest.raises(UnsupportedMedia, match="expected image"):
        decode(pdf([RED]), LIMITS, expect=Modality.IMAGE)


GOOD = pdf(["one", "two", "three"])


@pytest.mark.parametrize("data", [GOOD[:9], GOOD[:200], GOOD[: len(GOOD) // 2], b"%PDF-1.7\n" + bytes(5000)])
def test_what_is_cut_off_or_no_pdf_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="intact PDF"):
        list(pdf_pages(data, LIMITS))


def test_a_document_with_a_password_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedMedia, match="without a password") as caught:
        list(pdf_pages(encrypted(), LIMITS))
    assert caught.value.code == "encrypted"
    assert "已加密" in caught.value.zh


def test_pages_are_counted_before_they_are_read() -> None:
    with pytest.raises(TooLarge, match=r"at most 2 pages \(limits.document_pages\), got 3"):
        list(pdf_pages(GOOD, Limits(document_pages=2)))
    assert page_picture(GOOD, Limits(document_pages=2), 3).pixels.shape[0] == 1024, "one page is one page"


def test_a_page_that_takes_too_long_is_given_up() -> None:
    endless = pdf(["first", "!" + "0 0 m 595 842 l 0 842 l 595 0 l h f*\n" * 1_500_000])
    pages = pdf_pages(endless, Limits(decode_seconds=3), side=4000)
    assert next(pages).number == 1
    with pytest.raises(TooLarge) as caught:
        next(pages)
    assert caught.value.code == "decode_timeout"


@pytest.mark.parametrize("size", [(14_400, 1), (1, 14_400), (1e9, 1e9), (0, 0), (-5, 10)])
def test_pages_of_any_size_give_a_picture_of_the_size_asked_for(size: tuple[float, float]) -> None:
    for page in pdf_pages(pdf(["x"], size=size), LIMITS, side=64):
        assert page.picture is not None
        assert max(page.picture.pixels.shape) == 64


def test_a_picture_that_says_it_is_huge_costs_no_more_than_the_page() -> None:
    huge = b"/Width 60000 /Height 60000 /BitsPerComponent 8 /ColorSpace /DeviceRGB /Length 1"
    data = assembled(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R "
            b"/Resources << /XObject << /I 5 0 R >> >> >>",
            b"<< /Length 25 >>\nstream\nq 9 0 0 9 0 0 cm /I Do Q \nendstream",
            b"<< /Type /XObject /Subtype /Image %s >>\nstream\nx\nendstream" % huge,
        ]
    )
    assert [page.number for page in pdf_pages(data, LIMITS, side=64)] == [1]


def test_a_reader_that_dies_takes_nobody_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MEMORY", 30 << 20)  # not enough to load the library
    with pytest.raises(UnsupportedMedia, match="brings its reader down"):
        list(pdf_pages(GOOD, LIMITS))


def test_a_reader_that_crashes_in_the_middle_is_told_from_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, signal, struct, sys\n"
        "for record in ({'pages': 3}, {'page': 1, 'text': 'one'}):\n"
        "    head = json.dumps(record).encode()\n"
        "    os.write(1, struct.pack('>I', len(head)) + head)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setattr(reading.pdf_child, "__file__", str(child))
    pages = pdf_pages(GOOD, LIMITS)
    assert next(pages).text == "one"
    with pytest.raises(UnsupportedMedia, match="page 2"):
        next(pages)


@pytest.mark.parametrize(
    "record", ['{"page": 9}', '{"page": 1, "width": 99999, "height": 1}', "[]", '{"page": "1"}']
)
def test_the_word_of_a_process_that_was_taken_over_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: str
) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import os, struct\n"
        f"for head in (b'{{\"pages\": 3}}', {record.encode()!r}):\n"
        "    os.write(1, struct.pack('>I', len(head)) + head)\n"
        "os.write(1, bytes(10_000_000))\n"
    )
    monkeypatch.setattr(reading.pdf_child, "__file__", str(child))
    with pytest.raises(UnsupportedMedia):
        list(pdf_pages(GOOD, LIMITS))


@pytest.mark.parametrize("position", range(20, len(GOOD), 97))
def test_every_damage_ends_in_pages_or_in_an_error_of_ours(position: int) -> None:
    damaged = GOOD[:position] + b"\xff\0]>>" + GOOD[position + 5 :]
    with suppress(UnsupportedMedia):
        assert [page.number for page in pdf_pages(damaged, LIMITS, side=32)] in (
            [1, 2, 3],
            [1, 2],
            [1, 3],
            [2, 3],
        )


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NotFound):
        list(pdf_pages(Path("/nowhere/x.pdf"), LIMITS))
