import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.library.passages import passages, title_of


def texts(text: str, size: int) -> list[str]:
    return [passage.text for passage in passages(text, size)]


def test_a_short_text_is_one_passage() -> None:
    assert texts("  A short text.\nTwo lines.  ", 100) == ["A short text.\nTwo lines."]


def test_paragraphs_stay_together_while_they_fit() -> None:
    assert texts("One.\n\nTwo.\n\nThree.", 12) == ["One.\n\nTwo.", "Three."]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = "The first sentence. The second one! Is this the third? Yes."
    assert texts(text, 36) == ["The first sentence. The second one!", "Is this the third? Yes."]


def test_chinese_sentences_end_without_a_space() -> None:
    text = "春天来了。花都开了！“你看见了吗？”他问。我看见了。"
    assert texts(text, 12) == ["春天来了。花都开了！", "“你看见了吗？”他问。", "我看见了。"]


def test_numbers_and_addresses_are_not_the_end_of_a_sentence() -> None:
    assert texts("It costs 3.14 euros at example.com today. Buy it.", 42) == [
        "It costs 3.14 euros at example.com today.",
        "Buy it.",
    ]


def test_a_sentence_without_end_is_cut_anyway() -> None:
    assert texts("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize("text", ["", "  \n\n \t "])
def test_nothing_has_no_passages(text: str) -> None:
    assert texts(text, 10) == []


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet='ab .!?。！”\n"', max_size=300), st.integers(1, 40))
def test_nothing_is_lost_repeated_or_too_long(text: str, size: int) -> None:
    found = list(passages(text, size))
    assert "".join("".join(p.text.split()) for p in found) == "".join(text.split())
    assert all(len(p.text) <= size and text[p.start : p.end] == p.text for p in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_the_title_is_the_first_line_if_it_is_short() -> None:
    assert title_of("# On apples\n\nThey are red.") == "On apples"
    assert title_of("\n苹果\n它们是红色的。") == "苹果"
    assert title_of("x" * 200 + "\nmore") is None
    assert title_of("") is None
