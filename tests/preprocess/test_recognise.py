import ctypes.util
import threading

import numpy as np
import pytest

from chiasm.preprocess import recognise
from chiasm.preprocess.recognise import LexiconRecogniser, RecogniserConfig, grammar_phrases, sounding

WORDS = ("september", "volleyball", "butterfly", "newspaper", "elephant")
needs_flite = pytest.mark.skipif(
    ctypes.util.find_library("flite_cmu_us_rms") is None, reason="flite is not installed"
)


def said(word):
    from chiasm.data.builders.speech import speak_flite

    return speak_flite(word, "rms")


@pytest.fixture(scope="module")
def recogniser():
    return LexiconRecogniser([*WORDS, "苹果", "qwzx", "two words"])


@needs_flite
@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_lexicon_is_heard(recogniser, word):
    heard = recogniser.hear(said(word))
    assert heard is not None
    assert heard.texts[0] == word
    assert heard.confidence > 0.5


@needs_flite
def test_what_was_heard_before_and_silence_around_change_nothing(recogniser):
    sound = said("butterfly")
    first = recogniser.hear(sound)
    recogniser.hear(said("newspaper"))
    assert recogniser.hear(sound) == first
    silence = np.zeros(16_000, np.float32)
    assert recogniser.hear(np.concatenate([silence, sound, silence])).texts[0] == "butterfly"


@needs_flite
def test_what_it_may_have_been_has_shares_of_one(recogniser):
    heard = recogniser.hear(said("butterfly"))
    assert len(heard.texts) == len(heard.shares) == len(set(heard.texts)) <= 5
    assert sum(heard.shares) == pytest.approx(1.0)
    assert list(heard.shares) == sorted(heard.shares, reverse=True)


def test_other_threads_go_on_while_it_listens(recogniser, monkeypatch):
    """The decoder holds the global lock for as long as a piece takes; a sound is many pieces."""
    pieces = []

    class Decoder:
        def activate_search(self, name):
            self.search = name

        def process_raw(self, data, full_utt=False):
            pieces.append((len(data), self.search))

        def get_cmn(self, update):
            return "41.0"

        def hyp(self):
            return None

        def __getattr__(self, name):
            return lambda *_: None

    monkeypatch.setattr(recognise, "_decoder", lambda phrases: Decoder())
    tone = np.sin(np.arange(32_000, dtype=np.float32) / 9)
    assert LexiconRecogniser(["apple"]).hear(tone) is None
    searched = [size for size, search in pieces if search == "lexicon"]
    assert max(searched) <= 2 * 16_000 / 20, "a twentieth of a second"
    assert sum(searched) == pieces[0][0], "all of it"


@needs_flite
def test_threads_share_the_decoder(recogniser):
    sounds = {word: said(word) for word in WORDS}
    heard = {}
    threads = [
        threading.Thread(target=lambda w=word: heard.update({w: recogniser.hear(sounds[w])}))
        for word in WORDS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {word: transcript.texts[0] for word, transcript in heard.items()} == {word: word for word in WORDS}


def test_silence_clicks_and_an_empty_lexicon_give_nothing(recogniser):
    click = np.zeros(16_000, np.float32)
    click[8000:8200] = 0.5
    for sound in (np.zeros(16_000, np.float32), np.zeros(0, np.float32), click):
        assert recogniser.hear(sound) is None
    assert (
        LexiconRecogniser([]).hear(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)) is None
    )


def test_a_lexicon_without_a_known_word_hears_none():
    assert LexiconRecogniser(["qwzx"]).hear(np.sin(np.arange(16_000, dtype=np.float32) / 9)) is None


def test_noise_is_no_word(recogniser):
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    heard = recogniser.hear(noise)
    assert heard is None or heard.confidence < 0.5


def test_only_the_sounding_part_is_listened_to_and_not_more_than_the_limit():
    config = RecogniserConfig(max_seconds=2.0)
    tone = np.sin(np.arange(16_000, dtype=np.float32))
    quiet = np.zeros(16_000, np.float32)
    heard = sounding(np.concatenate([quiet, tone, quiet]), config)
    assert heard is not None
    assert 1.0 <= len(heard) / 16_000 <= 1.5
    long = sounding(np.tile(tone, 9), config)
    assert long is not None
    assert len(long) / 16_000 <= 2.3


def test_the_grammar_takes_plain_words_once():
    phrases = ["Ice-cream", "ice cream", "T-shirt!", "苹果", "three little pigs", "don’t", ""]
    assert grammar_phrases(phrases, 2) == ("ice cream", "don't")
