"""The sample library: small, readable, credited, and what its list says."""

from pathlib import Path

import pytest

import chiasm.library
from chiasm.data.builders.sample_list import CLIPS, PICTURES, SOUNDS, SPEECH
from chiasm.media import decode, segments
from chiasm.modality import Modality
from chiasm.settings import Limits

ROOT = Path(__file__).parents[1]
SAMPLE = Path(chiasm.library.__file__).parent / "sample"
FILES = sorted(path for path in SAMPLE.rglob("*") if path.is_file())
KINDS = {
    "pictures": Modality.IMAGE, "sounds": Modality.AUDIO, "speech": Modality.AUDIO, "clips": Modality.VIDEO,
    "notes": Modality.TEXT,
}  # fmt: skip


def test_it_is_small():
    assert sum(path.stat().st_size for path in FILES) < 3_000_000
    assert max(path.stat().st_size for path in (SAMPLE / "clips").iterdir()) <= 60_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SAMPLE).as_posix())
def test_every_file_can_be_read_and_is_what_its_folder_says(path: Path):
    assert decode(path, Limits()).modality == KINDS[path.parent.name]


def test_the_files_are_those_of_the_list():
    made = {"pictures": PICTURES, "sounds": SOUNDS, "speech": SPEECH, "clips": CLIPS}
    assert {path.parent.name for path in FILES} == {*made, "notes"}
    for folder, names in made.items():
        assert {path.name for path in (SAMPLE / folder).iterdir()} == set(names)


def test_every_source_of_a_drawing_is_credited():
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    credits = {
        "noto": "Noto Emoji", "twemoji": "Twemoji", "fxemoji": "FxEmojis", "fluent-emoji": "Fluent Emoji",
        "fluent-emoji-flat": "Fluent Emoji", "emojione": "Emoji One 2", "clipart": "Open Clip Art",
    }  # fmt: skip
    drawn = [sprite.drawing for scene in PICTURES.values() for sprite in scene.sprites]
    drawn += [motion.start.drawing for motions in CLIPS.values() for motion in motions]
    assert {credits[name.partition(":")[0]] for name in drawn} == set(credits.values())
    assert all(credit in notice for credit in credits.values())


def test_both_languages_are_written_and_spoken():
    chinese = [path for path in FILES if any("\u4e00" <= letter <= "\u9fff" for letter in path.stem)]
    assert {path.parent.name for path in chinese} >= {"notes", "speech"}
    assert {words.language for words in SPEECH.values()} == {"en", "zh"}


def test_one_clip_is_long_enough_for_a_hit_to_have_a_time():
    clip = SAMPLE / "clips" / "一天的三个片段.mp4"
    assert [round(stretch.start) for stretch in segments(clip, Limits(), 6.0)] == [0, 6, 12]
