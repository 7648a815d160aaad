"""Notes whose queries are known."""

import re

from chiasm.data.builders.glossary import load_sentences
from chiasm.data.builders.notes import (
    CALIBRATION_NOTES,
    HELD_EVERY,
    SENTENCES,
    calibration_and_evaluation,
)


def test_calibration_and_evaluation_share_no_sentence() -> None:
    calibration, evaluation = calibration_and_evaluation(load_sentences())
    assert len(calibration) == CALIBRATION_NOTES
    assert len(evaluation) > 100
    fitted = " ".join(note.text for note in calibration)
    assert not [note for note in evaluation if note.text in fitted]
    asked = {text for note in calibration for text in note.asked}
    assert len([text for note in evaluation for text in note.asked if text in asked]) <= 2, (
        "common words only"
    )


def test_sentences_held_out_of_training_come_first() -> None:
    sentences = [(f"sentence number {n}", f"第{n}句") for n in range(CALIBRATION_NOTES * SENTENCES + 40)]
    calibration, evaluation = calibration_and_evaluation(sentences)
    said = {int(number) for note in calibration for number in re.findall(r"[0-9]+", note.text)}
    assert said >= set(range(0, len(sentences), HELD_EVERY))
    assert len(evaluation) == 10


def test_a_note_is_not_asked_for_in_its_own_words() -> None:
    sentences = [("A red apple lies there.", "那儿有个红苹果。")] * (SENTENCES * (CALIBRATION_NOTES + 2))
    for note in calibration_and_evaluation(sentences)[0]:
        assert len(note.asked) == 2, "in the other language, and by its longest words"
        assert "there apple" in note.asked[1] or "apple there" in note.asked[1]
        assert not [text for text in note.asked if text in note.text]
