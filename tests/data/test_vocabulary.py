"""Chinese words as tokens of their own, beside an English vocabulary that stays as published."""

from chiasm.data.builders.vocabulary import (
    choose_words,
    common_characters,
    extend_tokenizer,
    glosses,
    translations,
)
from tiny_model import tiny_tokenizer

PAIRS = [
    ("apple", "苹果"),
    ("red", "红色"),
    ("red apple", "红色苹果"),
    ("apple tree", "苹果树"),
    ("apple", "苹果"),
    ("the red", "红色"),
    ("cat", "猫"),
    ("very long name", "一二三四五"),
]


def test_translations_keep_their_order_and_come_once() -> None:
    table = translations(PAIRS)
    assert table["苹果"] == ["apple"]
    assert table["红色"] == ["red", "the red"]


def test_words_are_all_characters_and_the_words_that_do_not_split_into_known_ones() -> None:
    words = choose_words(translations(PAIRS))
    assert words == [*sorted("苹果红色树猫一二三四五"), "红色", "苹果", "苹果树"]
    assert choose_words(dict(reversed(translations(PAIRS).items()))) == words, "the order is stable"


def test_the_longest_word_is_one_token_and_english_keeps_its_ids() -> None:
    tokenizer = tiny_tokenizer()
    english = ["a red apple", "the cat and the dog!", "unheard-of w0rds"]
    before = [tokenizer.encode(text).ids for text in english]
    base = tokenizer.get_vocab_size()
    size = extend_tokenizer(tokenizer, choose_words(translations(PAIRS)))
    assert size == tokenizer.get_vocab_size() == base + 14
    assert [tokenizer.encode(text).ids for text in english] == before
    assert tokenizer.encode("红色苹果树", add_special_tokens=False).tokens == ["红色", "苹果树"]
    assert tokenizer.encode("猫果 red 苹果", add_special_tokens=False).tokens == ["猫", "果", "red", "苹果"]
    assert all(i >= base for i in tokenizer.encode("红色苹果树猫", add_special_tokens=False).ids)


def test_a_word_starts_from_its_translations_else_from_names_that_contain_it() -> None:
    table = translations(PAIRS)
    assert glosses(["红色", "苹果", "果", "树", "鱼"], table) == [
        ["red", "the red"],
        ["apple"],
        ["apple", "apple tree", "red apple"],
        ["apple tree"],
        [],
    ]


def test_at_most_twelve_names_explain_a_character() -> None:
    table = {f"树{chr(0x4E00 + i)}": [f"tree {i}"] for i in range(30)}
    assert glosses(["树"], table) == [[f"tree {i}" for i in range(12)]]


def test_the_common_characters_are_those_of_the_national_standard() -> None:
    found = common_characters()
    assert (len(found), len(set(found)), found[0], found[-1]) == (3755, 3755, "啊", "座")
