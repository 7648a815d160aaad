import numpy as np
import pytest
import torch

from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.models.mini.audio import AudioOutput
from chiasm.models.mini.lexicon import Heard, Lexicon, english_share, soften_tones
from chiasm.models.mini.listener import LexiconListener, ListenerConfig, mix
from chiasm.models.mini.phonemes import (
    BLANK,
    UNITS,
    chinese,
    english,
    is_chinese,
    look_up,
    pronunciations,
    words,
)
from chiasm.preprocess.prepared import PreparedPart


def spelt(units):
    return " ".join(UNITS[unit] for unit in units)


def spoken(units, *, sure=0.9, seed=0):
    """CTC log-probabilities of someone saying these units: each for two steps, a blank between."""
    rng = np.random.default_rng(seed)
    path = [place for unit in units for place in (BLANK, unit, unit)] + [BLANK]
    chances = rng.random((len(path), len(UNITS)))
    chances *= (1 - sure) / chances.sum(1, keepdims=True)
    chances[np.arange(len(path)), path] += sure
    return np.log(chances).astype(np.float32)


@pytest.mark.parametrize(
    ("phrase", "units"),
    [
        ("violin", "V AY AH L IH N"),
        ("ice-cream", "AY S K R IY M"),
        ("7 cats", "S EH V AH N K AE T S"),
        ("matchstick", "M AE CH S T IH K"),  # not in the dictionary: a compound
        ("seahorses", "S IY HH AO R S AH Z"),
    ],
)
def test_english_is_spelt_in_arpabet(phrase, units):
    assert spelt(english([phrase])[0]) == units


@pytest.mark.parametrize(
    ("phrase", "units"),
    [
        ("小提琴", "x- iao3 t- i2 q- in2"),
        ("银行", "in2 h- ang2"),  # not xing2
        ("绿色", "l- v4 s- e4"),
        ("T恤", "T IY x- v4"),
        ("5", "u3"),
    ],
)
def test_chinese_is_spelt_in_initials_and_finals_with_tones(phrase, units):
    assert spelt(chinese(phrase)) == units


def test_words_without_a_dictionary_entry_are_spelt_by_rule():
    assert look_up(["brillig"]) == {}
    assert pronunciations(["brillig"])["brillig"]
    assert words("Don’t panic!") == ["don't", "panic"]
    assert is_chinese("T恤")
    assert not is_chinese("café")


PHRASES = [
    "violin",
    "violet",
    "piano",
    "flower",
    "flour",
    "red apple",
    "apple",
    "小提琴",
    "钢琴",
    "苹果",
    "红苹果",
]


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon.of([*PHRASES, "violin", "!!!"])


def test_a_lexicon_holds_each_phrase_that_can_be_said_once(lexicon):
    assert set(lexicon.texts) == set(PHRASES)
    assert len(lexicon) == len(PHRASES)
    assert set(lexicon.english()) == {p for p in PHRASES if not is_chinese(p)}


@pytest.mark.parametrize("phrase", [p for p in PHRASES if p not in ("flower", "flour")])
def test_what_is_said_is_found_first(lexicon, phrase):
    units = chinese(phrase) if is_chinese(phrase) else english([phrase])[0]
    best = lexicon.hear(spoken(units, sure=0.6))[0]
    assert best.text == phrase
    assert best.share > 0.9
    assert best.fit > 0.8


def test_homophones_share(lexicon):
    heard = {h.text: h.share for h in lexicon.hear(spoken(english(["flower"])[0]))}
    assert heard["flower"] == pytest.approx(heard["flour"]) == pytest.approx(0.5, abs=0.01)


def test_the_score_is_that_of_ctc(lexicon):
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(0, 2, (30, len(UNITS)))).log_softmax(-1)
    scores = lexicon._exact(logits.exp().numpy(), np.arange(len(lexicon)))
    cuts = np.split(lexicon.units.astype(np.int64), np.cumsum(lexicon.counts)[:-1])
    for score, units in zip(scores, cuts, strict=True):
        loss = torch.nn.functional.ctc_loss(
            logits[:, None],
            torch.from_numpy(units)[None],
            torch.tensor([30]),
            torch.tensor([len(units)]),
            reduction="sum",
        )
        assert score == pytest.approx(-float(loss), rel=1e-6)


def test_something_that_no_entry_spells_fits_badly(lexicon):
    nonsense = lexicon.hear(spoken(english(["zebra crossing"])[0]))
    assert nonsense[0].fit < 0.5


def test_silence_says_nothing(lexicon):
    assert lexicon.hear(spoken([])) == []
    assert Lexicon.of([]).hear(spoken([3, 4])) == []


def test_a_wrong_tone_still_finds_the_word(lexicon):
    units = list(chinese("小提琴"))
    units[1] = UNITS.index("iao4")
    assert lexicon.hear(spoken(units))[0].text == "小提琴"
    logs = spoken(units).astype(np.float64)
    assert soften_tones(logs, 0.2)[4, UNITS.index("iao3")] > logs[4, UNITS.index("iao3")]


def test_language_is_heard():
    assert english_share(spoken(english(["violin"])[0])) > 0.8
    assert english_share(spoken(chinese("小提琴"))) < 0.2


def test_a_user_s_own_words_can_be_added(lexicon):
    more = lexicon.extended(["Brillig", "violin", "蘑菇汤"])
    assert len(more) == len(lexicon) + 2
    assert more.hear(spoken(chinese("蘑菇汤")))[0].text == "蘑菇汤"
    assert more.hear(spoken(english(["violin"])[0]))[0].text == "violin"


def test_bytes_round_trip_and_others_are_refused(lexicon):
    again = Lexicon.from_bytes(lexicon.to_bytes())
    assert again.texts == lexicon.texts
    np.testing.assert_array_equal(again.units, lexicon.units)
    for bad in (b"", b"nonsense", lexicon.to_bytes()[:-9], Lexicon(["a"], [[250]]).to_bytes()):
        with pytest.raises(CheckpointError):
            Lexicon.from_bytes(bad)


def unit(index):
    return torch.eye(4)[index]


def decide(**changes):
    values = {
        "own": unit(0),
        "spelt": unit(1)[None],
        "heard": [Heard(text="x", share=1.0, fit=0.9)],
        "transcript": unit(2),
        "confidence": 0.9,
        "speech": 1.0,
        "english": 0.9,
        "config": ListenerConfig(),
    }
    return mix(**{**values, **changes})


def test_a_sound_that_is_no_speech_keeps_its_own_vector():
    torch.testing.assert_close(decide(speech=0.0), unit(0))


def test_who_is_sure_decides():
    spelling = decide(confidence=0.05)
    assert int(spelling.argmax()) == 1
    recogniser = decide(heard=[Heard(text="x", share=1.0, fit=0.05)])
    assert int(recogniser.argmax()) == 2


def test_the_english_recogniser_has_no_say_in_chinese():
    assert decide(english=0.1)[2] == 0
    assert decide(transcript=None)[2] == 0


def test_all_that_the_recogniser_may_have_heard_counts_by_its_share(lexicon):
    class Axes:
        """Text vectors that are the axis of the first token id."""

        def text_vectors(self, ids):
            return torch.stack([unit(int(row[0])) for row in ids])

    part = PreparedPart(
        Modality.AUDIO,
        {
            "transcript_ids": np.array([1, 9, 2], np.int32),
            "transcript_lengths": np.array([2, 1], np.int32),
            "transcript_shares": np.array([0.75, 0.25], np.float32),
            "transcript_confidence": np.array([1.0], np.float32),
        },
        0,
        1.0,
    )
    logs = torch.full((1, 10, len(UNITS)), -9.0)
    logs[:, :, 1] = 9.0  # an English phoneme
    output = AudioOutput(unit(0)[None], unit(0)[None, None], logs, torch.tensor([10]), torch.tensor([9.0]))
    config = ListenerConfig(spelt=0.0)
    listener = LexiconListener(lexicon, lambda text: np.array([3], np.int32), config)
    vector = listener.decide(output, [part], Axes())[0]
    assert vector[1] == pytest.approx(3 * float(vector[2]), rel=1e-5)
    assert vector[3] == 0
