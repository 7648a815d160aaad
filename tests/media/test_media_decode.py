"""Every kind of file becomes what it is, by its content."""

import io
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.errors import ChiasmError, InvalidInput, NotFound, TooLarge, UnsupportedMedia
from chiasm.media import decode, probe, sniff
from chiasm.modality import Audio, Image, Modality, Text, Video


def loudest(audio: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(audio.samples * np.hanning(len(audio.samples))))
    return float(spectrum.argmax() * audio.rate / len(audio.samples))


def test_every_picture_is_told_and_decoded_by_content(pictures, limits):
    for mime, data in pictures.items():
        assert sniff(data[:4096]).mime == mime
        part = decode(data, limits)
        assert isinstance(part, Image), mime
        assert part.pixels.shape == (30, 40, 3)
        assert part.pixels[15, 38, 0] > 200
        assert part.pixels[15, 1, 0] < 60
        info = probe(data, limits)
        assert (info.type.mime, info.width, info.height) == (mime, 40, 30)


def test_every_sound_is_told_and_decoded_by_content(sounds, limits):
    for mime, data in sounds.items():
        part = decode(data, limits)
        assert isinstance(part, Audio), mime
        assert loudest(part) == pytest.approx(440, abs=3), mime
        assert np.sqrt(np.mean(part.samples**2)) == pytest.approx(0.5 / np.sqrt(2), abs=0.03), mime
        assert probe(data, limits).type.mime == mime


def test_every_video_is_told_and_decoded_by_content(videos, limits):
    for mime, data in videos.items():
        assert sniff(data[:4096]).mime == mime
        part = decode(data, limits)
        assert isinstance(part, Video), mime
        assert part.frames.shape == (10, 48, 64, 3), mime
        red = part.frames[:, 20, 50, 0].astype(int)
        assert (np.diff(red) > 10).all(), mime
        assert part.frames[5, 20, 10, 2] > 200, mime
        assert part.frames[5, 20, 50, 2] < 60, mime
        assert part.seconds == pytest.approx(1.0, abs=0.11), mime
        assert part.sound is not None
        assert loudest(part.sound) == pytest.approx(440, abs=3), mime
        info = probe(data, limits)
        assert (info.type.mime, info.width, info.height) == (mime, 64, 48)
        assert info.seconds == pytest.approx(1.0, abs=0.11)


@pytest.mark.parametrize("text", ["hello", "一只红苹果\n", "a\tb\r\n" * 2000, "\ufeffBOM", "BM bitmap? no"])
def test_utf8_is_text(text, limits):
    assert decode(text.encode(), limits) == Text(text.removeprefix("\ufeff"))


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "0 bytes"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF"),
        (b"PK\x03\x04\x14\x00\x00\x00", "ZIP"),
        (b"II*\x00\x08\x00\x00\x00", "TIFF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1", "HEIC"),
        ("一只红苹果".encode("gb18030"), "unknown"),
        (b"a\x00b", "unknown"),
    ],
)
def test_what_is_not_media_is_refused_by_name(data, named, limits):
    with pytest.raises(UnsupportedMedia, match=named):
        decode(data, limits)


def test_names_do_not_matter(tmp_path, pictures, limits):
    path = tmp_path / "song.mp3"
    path.write_bytes(pictures["image/png"])
    assert isinstance(decode(path, limits), Image)


def test_what_was_announced_must_come(pictures, sounds, videos, limits):
    with pytest.raises(UnsupportedMedia, match="expected audio, got image"):
        decode(pictures["image/png"], limits, expect=Modality.AUDIO)
    with pytest.raises(UnsupportedMedia, match="expected video, got audio"):
        decode(sounds["audio/mp4"], limits, expect=Modality.VIDEO)
    with pytest.raises(UnsupportedMedia, match="expected image, got text"):
        decode(b"hello", limits, expect=Modality.IMAGE)
    assert isinstance(decode(videos["video/mp4"], limits, expect=Modality.AUDIO), Audio)


def test_a_playlist_is_only_text(limits):
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    assert isinstance(decode(playlist, limits), Text)


def test_a_path_must_be_a_regular_file(tmp_path, limits):
    with pytest.raises(NotFound):
        decode(tmp_path / "none.png", limits)
    with pytest.raises(InvalidInput):
        decode(tmp_path, limits)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="regular file"):
        decode(tmp_path / "pipe", limits)


def test_size_is_bounded(pictures, tmp_path, limits):
    small = replace(limits, file_bytes=100)
    path = tmp_path / "a.png"
    path.write_bytes(pictures["image/bmp"])
    for source in (path, pictures["image/bmp"]):
        with pytest.raises(TooLarge, match="100 bytes"):
            decode(source, small)
    with pytest.raises(TooLarge, match="5 characters"):
        decode(b"123456", replace(limits, text_chars=5))


def test_decoding_stops_at_the_deadline(videos, limits):
    with pytest.raises(TooLarge) as caught:
        decode(videos["video/mp4"], replace(limits, decode_seconds=0))
    assert caught.value.code == "decode_timeout"


def test_errors_speak_chinese_too(limits):
    with pytest.raises(ChiasmError) as caught:
        decode(b"%PDF-1.7\xff", limits)
    assert "PDF" in caught.value.message("zh")
    assert "应为" in caught.value.message("zh")


def test_pixels_are_bounded_by_the_header_alone(limits):
    buffer = io.BytesIO()
    Pillow.new("1", (9000, 9000)).save(buffer, "PNG")
    for bound in (1_000_000, 50_000_000):
        with pytest.raises(TooLarge, match="pixels"):
            decode(buffer.getvalue(), replace(limits, image_pixels=bound))


def test_a_decompression_bomb_is_too_large(limits):
    header = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (60_000).to_bytes(4, "little") * 2 + b"\x01\0\x18\0" + bytes(24)
    with pytest.raises(TooLarge, match="pixels"):
        decode(header, limits)
