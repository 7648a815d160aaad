"""What a person hands over in Python becomes parts and items."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.errors import ChiasmError, InvalidInput, NotFound, TooLarge
from chiasm.media import item_of_value, part_of
from chiasm.modality import Audio, Image, Item, Text, Url, Video


def test_a_plain_string_is_always_text(limits):
    for value in ("hello", "/etc/passwd", "https://example.org/a.png", "data:,x", ""):
        assert part_of(value, limits) == Text(value)


def test_paths_bytes_pictures_and_addresses_are_decoded(tmp_path, pictures, sounds, limits):
    path = tmp_path / "a"
    path.write_bytes(pictures["image/png"])
    assert isinstance(part_of(path, limits), Image)
    assert isinstance(part_of(sounds["audio/wav"], limits), Audio)
    assert part_of(Pillow.new("L", (3, 2)), limits).pixels.shape == (2, 3, 3)
    assert part_of(Url("data:,a%20cat"), limits) == Text("a cat")


def test_parts_pass_as_they_are(limits):
    image = Image(np.zeros((1, 1, 3), np.uint8))
    video = Video(np.zeros((1, 1, 1, 3), np.uint8), 1.0)
    assert part_of(image, limits) is image
    assert part_of(video, limits) is video


@pytest.mark.parametrize("value", [None, 3, 2.5, {"text": "a"}, object(), np.zeros(3)])
def test_anything_else_is_refused_by_its_type(value, limits):
    with pytest.raises(InvalidInput, match=type(value).__name__):
        part_of(value, limits)


def test_a_list_is_one_mixed_item(limits, make_picture, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(make_picture("PNG"))
    item = item_of_value(["this one", path], limits)
    assert [type(part) for part in item.parts] == [Text, Image]
    assert item_of_value(item, limits) is item
    assert item_of_value("red", limits) == Item((Text("red"),))


def test_a_bad_file_is_named_once_in_both_languages(limits, tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    for missing_or_empty in (path, tmp_path / "none.png"):
        with pytest.raises(ChiasmError) as caught:
            part_of(missing_or_empty, limits)
        for message in (str(caught.value), caught.value.en, caught.value.zh):
            assert message.count(str(missing_or_empty)) == 1


def test_errors_in_a_list_name_the_position(limits, tmp_path):
    with pytest.raises(NotFound) as caught:
        item_of_value(["a", tmp_path / "none"], limits)
    assert caught.value.param == "content[1]"
    with pytest.raises(InvalidInput):
        item_of_value([], limits)
    with pytest.raises(TooLarge, match="at most 2 parts"):
        item_of_value(["a"] * 3, replace(limits, parts=2))
    with pytest.raises(TooLarge, match="at most 3 characters"):
        part_of(Text("long"), replace(limits, text_chars=3))
