"""Real files through the real decoders and the real preprocessor."""

import wave
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from library_fakes import HashEmbedder, real_description, settings_for
from PIL import Image, ImageDraw, ImageFont

from chiasm.errors import ChiasmError, TooLarge
from chiasm.library import open_library
from chiasm.library.cutting import MediaCutter
from chiasm.media import TextReader
from chiasm.modality import Text, item_of
from chiasm.preprocess import Preprocessor
from chiasm.settings import LibrarySettings, Limits, Settings
from document_files import docx, paragraph, pdf, placed


@pytest.fixture
def cutter() -> MediaCutter:
    settings = Settings(library=LibrarySettings(segment_seconds=2.0, passage_chars=40))
    return MediaCutter(Preprocessor(real_description()), settings)


def write_sound(path: Path, seconds: float) -> None:
    samples = (0.3 * np.sin(np.arange(int(16_000 * seconds)) * 0.1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(samples.tobytes())


def write_video(path: Path, seconds: float) -> None:
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(int(8 * seconds)):
            pixels = np.full((48, 64, 3), number % 250, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())


def test_a_picture_is_one_piece_whatever_its_name(cutter: MediaCutter, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (200, 30, 30)).save(tmp_path / "x.txt", format="PNG")
    cut = cutter(tmp_path / "x.txt")
    (piece,) = cut.pieces
    assert (cut.modality, cut.mime) == ("image", "image/png")
    assert (piece.modality, piece.start, piece.end, piece.snippet) == ("image", None, None, None)


def test_a_text_is_passages_that_know_their_place_and_title(cutter: MediaCutter, tmp_path: Path) -> None:
    text = "# On apples\n\nApples are red and round, mostly.\n\nPears are another thing altogether."
    (tmp_path / "x.md").write_text(text)
    pieces = list(cutter(tmp_path / "x.md").pieces)
    snippets = [piece.snippet for piece in pieces]
    assert len(snippets) == 3
    assert snippets[-1] == "Pears are another thing altogether."
    assert all(text[int(p.start or 0) : int(p.end or 0)] == p.snippet for p in pieces)
    lengths = [len(piece.item.parts[0].arrays["token_ids"]) for piece in pieces]
    assert lengths[-1] > len(snippets[-1] or ""), "the title goes with later passages"


def test_a_pdf_is_the_passages_and_the_picture_of_each_page(cutter: MediaCutter, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pdf(["On apples", "Apples are red and round.", "!1 0 0 rg 9 9 99 99 re f"]))
    cut = cutter(tmp_path / "x")
    pieces = list(cut.pieces)
    assert (cut.modality, cut.mime) == ("text", "application/pdf")
    assert [(piece.modality, piece.page) for piece in pieces] == [
        ("text", 1), ("image", 1), ("text", 2), ("image", 2), ("image", 3),
    ]  # fmt: skip
    second = pieces[2]
    assert (second.snippet, second.start, second.end) == ("Apples are red and round.", 0, 25)
    assert len(second.item.parts[0].arrays["token_ids"]) > 25, "the title goes with later pages"


def test_a_word_document_is_its_passages_and_the_pictures_in_it(cutter: MediaCutter, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (200, 30, 30)).save(tmp_path / "a.png")
    body = paragraph("On apples", "1") + placed("a") + paragraph("Apples are red and round, mostly.")
    (tmp_path / "x.docx").write_bytes(docx(body, {"a": (tmp_path / "a.png").read_bytes()}))
    cut = cutter(tmp_path / "x.docx")
    pieces = list(cut.pieces)
    assert cut.modality == "text"
    assert [piece.modality for piece in pieces] == ["text", "text", "image"]
    assert (pieces[0].snippet, pieces[2].start) == ("# On apples", len("# On apples\n\n"))


def test_what_is_found_in_a_pdf_names_its_page(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "book.pdf").write_bytes(pdf(["one", "two", "three"]))
    with open_library(settings_for(tmp_path / "data"), HashEmbedder()) as library:
        store = library.create_store("mine").store
        assert library.index_folder("mine", tmp_path / "media").added == 1
        entry = library.list_files("mine").data[0]
        assert [segment.page for segment in library.segments("mine", entry.file.id)] == [1, 1, 2, 2, 3, 3]
        library.add_file("mine", tmp_path / "media" / "book.pdf", "copy.pdf")
        copy = next(e for e in library.list_files("mine").data if e.file.name == "copy.pdf")
        assert [s.page for s in library.segments("mine", copy.file.id)] == [1, 1, 2, 2, 3, 3], "known content"
        best = library.search("mine", np.ones(32), "text", threshold=0)[0]
        assert {best.page, *(other.page for other in best.others)} == {1, 2, 3}
        assert library.search_like(store.id, entry.file.id, threshold=0)[0].name == "copy.pdf"


def test_a_long_text_may_be_longer_than_one_that_is_sent(tmp_path: Path) -> None:
    settings = Settings(limits=Limits(text_chars=100))
    (tmp_path / "book.txt").write_text("A sentence of a long book. " * 100)
    pieces = list(MediaCutter(Preprocessor(real_description()), settings)(tmp_path / "book.txt").pieces)
    assert len(pieces) > 1


def test_sound_and_video_are_stretches_with_their_times(cutter: MediaCutter, tmp_path: Path) -> None:
    write_sound(tmp_path / "x.wav", 5.0)
    write_video(tmp_path / "x.mp4", 5.0)
    for name, modality in (("x.wav", "audio"), ("x.mp4", "video")):
        pieces = list(cutter(tmp_path / name).pieces)
        assert {piece.modality for piece in pieces} == {modality}
        assert [piece.start for piece in pieces] == [0.0, 2.0, 4.0]
        assert pieces[-1].end == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"\x89PNG\r\n\x1a\nbroken", b"PK\x03\x04zip"])
def test_what_is_no_media_is_refused(cutter: MediaCutter, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ChiasmError):
        list(cutter(tmp_path / "x.png").pieces)


def test_a_folder_of_everything_becomes_searchable(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "note.txt").write_text("春天来了，花都开了。")
    Image.new("RGB", (50, 40)).save(folder / "dark.png")
    write_sound(folder / "tone.wav", 7.0)
    write_video(folder / "clip.mp4", 7.0)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff" + b"x" * 100)
    settings = replace(settings_for(tmp_path / "data"), limits=Limits(file_bytes=10_000_000))
    with open_library(settings, HashEmbedder()) as library:
        library.create_store("mine")
        report = library.index_folder("mine", folder)
        assert report.added == 4
        assert [Path(problem.path).name for problem in report.failed] == ["broken.jpg"]
        segments = library.get_store("mine").segments
        assert segments == {"text": 1, "image": 1, "audio": 1, "video": 1}
        files = {entry.file.name: entry.file for entry in library.list_files("mine").data}
        assert (files["clip.mp4"].modality, files["clip.mp4"].mime) == ("video", "video/mp4")
        hit = library.search("mine", np.ones(32), "text", modalities=["audio"])[0]
        assert (hit.name, hit.start, hit.end) == ("tone.wav", 0.0, pytest.approx(7.0, abs=0.1))


def test_a_file_beyond_the_limit_is_reported(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "big.txt").write_text("x" * 200)
    settings = replace(settings_for(tmp_path / "data"), limits=Limits(file_bytes=100))
    with open_library(settings, HashEmbedder()) as library:
        library.create_store("mine")
        (problem,) = library.index_folder("mine", tmp_path / "media").failed
        assert "100 bytes" in problem.en
        assert TooLarge.code == library.list_files("mine").data[0].problem.code


def write_sign(path: Path, text: str = "Harbour Street", **options: object) -> None:
    picture = Image.new("RGB", (900, 600), (246, 243, 230))
    font = ImageFont.load_default(40)
    ImageDraw.Draw(picture).text((300, 60), text, font=font, fill=(20, 20, 40))
    picture.save(path, **options)


@pytest.fixture
def reading() -> MediaCutter:
    return MediaCutter(Preprocessor(real_description()), Settings(), reader=TextReader())


def test_the_words_in_a_picture_are_a_passage_with_a_box(reading: MediaCutter, tmp_path: Path) -> None:
    write_sign(tmp_path / "sign.png")
    cut = reading(tmp_path / "sign.png")
    picture, words = cut.pieces
    assert (cut.modality, picture.modality, picture.box) == ("image", "image", None)
    assert (words.modality, words.snippet, words.start) == ("text", "Harbour Street", None)
    left, top, right, bottom = words.box or (0, 0, 0, 0)
    assert 0.3 < left < 0.36
    assert 0.05 < top < bottom < 0.2
    assert 0.5 < right < 0.8


def test_a_turned_picture_is_read_upright(reading: MediaCutter, tmp_path: Path) -> None:
    write_sign(tmp_path / "plain.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    with Image.open(tmp_path / "plain.jpg") as plain:
        plain.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif)
    _, upright = reading(tmp_path / "plain.jpg").pieces
    _, turned = reading(tmp_path / "turned.jpg").pieces
    assert turned.snippet == upright.snippet == "Harbour Street"
    np.testing.assert_allclose(turned.box, upright.box, atol=0.02)


def test_only_pages_without_text_of_their_own_are_read(reading: MediaCutter, tmp_path: Path) -> None:
    write_sign(tmp_path / "scan.png")
    with Image.open(tmp_path / "scan.png") as scan:
        scan.convert("RGB").save(tmp_path / "scan.pdf")
    pieces = list(reading(tmp_path / "scan.pdf").pieces)
    assert [(p.modality, p.page, p.snippet) for p in pieces] == [
        ("image", 1, None),
        ("text", 1, "Harbour Street"),
    ]
    (tmp_path / "text.pdf").write_bytes(pdf("A page with words"))
    assert all(piece.box is None for piece in reading(tmp_path / "text.pdf").pieces)


def test_words_in_pictures_are_found_with_their_box(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", ocr=True)
    write_sign(tmp_path / "sign.png")
    embedder = HashEmbedder()
    with open_library(settings, embedder) as library:
        library.create_store("mine")
        library.add_file("mine", tmp_path / "sign.png")
        library.add_file("mine", tmp_path / "sign.png", "again.png")
        vector = embedder.embed_prepared(
            [Preprocessor(real_description()).prepare(item_of(Text("Harbour Street")))]
        )
        hits = library.search("mine", vector, "text", threshold=0.0, modalities=["text"])
    assert len(hits) == 1, "the copy is a duplicate"
    assert (hits[0].modality, hits[0].mime, hits[0].snippet) == ("text", "image/png", "Harbour Street")
    assert hits[0].box is not None
    assert [twin.name for twin in hits[0].duplicates] == ["again.png"]


def test_without_the_setting_nothing_is_read(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", ocr=False)
    write_sign(tmp_path / "sign.png")
    with open_library(settings, HashEmbedder()) as library:
        library.create_store("mine")
        library.add_file("mine", tmp_path / "sign.png")
        assert library.get_store("mine").segments == {"image": 1}
