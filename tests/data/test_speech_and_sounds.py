import ctypes.util
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from chiasm.data.builders import corpus, sounds
from chiasm.data.builders.lexicon import Concept, load_concepts
from chiasm.data.builders.mels import read_shard
from chiasm.data.builders.noises import NOISES
from chiasm.data.builders.speech import espeak, trim, voices
from chiasm.data.builders.spoken import phrases_of, read_phrases, write_phrases
from chiasm.data.splits import held_out
from chiasm.errors import DataError

needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is not installed"
)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_voice_of_one_split_is_heard_in_another(language):
    heard = [
        {v.name.partition("+")[2] for v in voices(split, language)}
        for split in ("train", "validation", "test")
    ]
    assert all(not first & second for first, second in combinations(heard, 2))


@needs_espeak
def test_espeak_says_a_word_in_a_human_length_and_voices_differ():
    first, second = voices("train", "en")[:2]
    one, other = espeak().speak("violin", first), espeak().speak("violin", second)
    assert 0.3 < len(one) / 16_000 < 1.5
    assert len(one) != len(other)
    assert 0.05 < np.abs(one).max() <= 1


@needs_espeak
def test_an_unknown_voice_is_refused():
    with pytest.raises(DataError, match="no voice named"):
        espeak().speak("violin", type(voices("train", "en")[0])(name="xx/none", language="en"))


def test_trim_cuts_silence_from_both_ends_only():
    wave = np.array([0, 0, 0.5, 0, 0.5, 0], np.float32)
    assert trim(wave).tolist() == [0.5, 0, 0.5]
    assert trim(np.zeros(5, np.float32)).size == 0


def test_every_name_becomes_a_phrase_and_a_held_out_name_takes_its_homographs_with_it(tmp_path):
    out = next(
        f"stone {word}"
        for word in (
            "a",
            "b",
            "c",
            "d",
            "e",
            "f",
            "g",
            "h",
            "i",
            "j",
            "k",
            "l",
            "m",
            "n",
            "o",
            "p",
            "q",
            "r",
            "s",
            "t",
        )
        if held_out(f"stone {word}")
    )
    kept = next(name for name in ("river", "cloud", "table") if not held_out(name))
    phrases = phrases_of(
        [
            Concept(en=(kept, out), zh=("河流",), category="x"),
            Concept(en=(out,), zh=("石头",), category="x"),
        ]
    )
    by_text = {(p.text, p.target): p for p in phrases}
    assert by_text[kept, kept].held_out is False
    assert by_text["河流", kept].language == "zh"
    assert by_text["石头", out].held_out is True
    assert all(p.held_out for p in phrases if p.text == out)
    write_phrases(tmp_path / "p.json", phrases)
    assert read_phrases(tmp_path / "p.json") == phrases


def test_the_glossary_has_thousands_of_concepts_in_both_languages():
    concepts = load_concepts()
    assert len(concepts) > 3000
    assert len({concept.en[0].lower() for concept in concepts}) == len(concepts)


def test_a_table_without_its_columns_is_refused(tmp_path):
    (tmp_path / "bad.tsv").write_text("en\tfr\nwater\teau\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.tsv"):
        load_concepts(tmp_path)


@pytest.mark.parametrize("name", sorted(NOISES))
def test_noises_are_sounding_differ_by_seed_and_repeat_with_it(name):
    make = NOISES[name]
    first, again, other = (make(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert 0.85 < np.abs(first).max() <= 1
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_classes_have_names_of_their_own_in_both_languages():
    names = [kind.en for kind in sounds.CLASSES]
    assert len(set(names)) == len(names) > 80
    assert len({kind.zh for kind in sounds.CLASSES}) > 0.97 * len(names)


@pytest.mark.skipif(not Path(sounds.SOUND_FONT).exists(), reason="the sound font is not installed")
def test_no_pitch_of_the_test_is_ever_trained_on():
    pytest.importorskip("tinysoundfont")

    class Keys:
        def notes(self, program, score, velocity, *, drums=False):
            self.keys = {key for key, _, _ in score}
            return np.ones(100, np.float32)

    font, violin = Keys(), next(kind for kind in sounds.CLASSES if kind.en == "violin")
    heard = {}
    for split in sounds.SPLITS:
        rng = np.random.default_rng(0)
        heard[split] = set()
        for _ in range(60):
            sounds.play(font, violin, split, rng)
            heard[split] |= {key % 12 for key in font.keys}
    assert all(not heard[a] & heard[b] for a, b in combinations(sounds.SPLITS, 2))


@needs_espeak
def test_rounds_are_spoken_in_processes_of_their_own_by_other_voices(tmp_path):
    phrases = phrases_of(
        [Concept(en=(en,), zh=(zh,), category="animal") for en, zh in (("cat", "猫"), ("horse", "马"))]
    )
    write_phrases(tmp_path / "phrases.json", phrases)
    before = dict(os.environ)
    corpus._speak_rounds(tmp_path, [0, 1], jobs=2)
    assert dict(os.environ) == before
    first, second = (read_shard(tmp_path / f"train-{n:02d}") for n in (0, 1))
    trained = [n for n, phrase in enumerate(phrases) if not phrase.held_out]
    assert sorted(first.labels) == sorted(second.labels) == trained
    assert not np.array_equal(first.voices, second.voices)
