"""Parallel phrases: the glossary's words put into small sentences in both languages.

They teach the Chinese side of the text tower how words compose; the English side is the published
anchor and never changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiasm.data.builders.glossary import Entry
from chiasm.data.builders.palette import COLOURS

THING_CATEGORIES = frozenset(
    {"animal", "plant", "produce", "food", "clothing", "home", "tool", "vehicle", "leisure", "technology"}
)

MOTIONS: dict[str, tuple[str, str]] = {
    "left": ("{en} moving to the left", "{zh}向左移动"),
    "right": ("{en} moving to the right", "{zh}向右移动"),
    "up": ("{en} moving up", "{zh}向上移动"),
    "down": ("{en} moving down", "{zh}向下移动"),
    "grow": ("{en} getting bigger", "{zh}变大"),
    "shrink": ("{en} getting smaller", "{zh}变小"),
    "clockwise": ("{en} turning clockwise", "{zh}顺时针旋转"),
    "counterclockwise": ("{en} turning counterclockwise", "{zh}逆时针旋转"),
}

ONE_THING: tuple[tuple[str, str], ...] = (
    ("a photo of {a}", "一张{z}的照片"),
    ("a picture of {a}", "{z}的图片"),
    ("a drawing of {a}", "{z}的图画"),
    ("a video of {a}", "{z}的视频"),
    ("the sound of {a}", "{z}的声音"),
    ("this is {a}", "这是{z}"),
    ("there is {a} on the table", "桌子上有{z}"),
    ("I like {p}", "我喜欢{z}"),
    ("where is my {n}?", "我的{z}在哪里？"),
    ("how many {p} are there?", "有几个{z}？"),
    ("is there {a}?", "有{z}吗？"),
    ("no {n}", "没有{z}"),
    ("a big {n}", "大{z}"),
    ("a small {n}", "小{z}"),
    ("an old {n}", "旧的{z}"),
    ("a new {n}", "新的{z}"),
    ("a beautiful {n}", "漂亮的{z}"),
    ("a broken {n}", "坏了的{z}"),
    ("a wooden {n}", "木头做的{z}"),
    ("two {p}", "两个{z}"),
    ("three {p}", "三个{z}"),
    ("a lot of {p}", "很多{z}"),
    ("a person holding {a}", "一个人拿着{z}"),
    ("close-up of {a}", "{z}的特写"),
    ("she bought {a} yesterday", "她昨天买了{z}"),
    ("what colour is the {n}?", "{z}是什么颜色的？"),
)
TWO_THINGS: tuple[tuple[str, str], ...] = (
    ("{a} and {b}", "{z}和{y}"),
    ("{a} next to {b}", "{y}旁边的{z}"),
    ("{a} on the left of {b}", "{z}在{y}的左边"),
    ("{a} on the right of {b}", "{z}在{y}的右边"),
    ("{a} above {b}", "{z}在{y}的上面"),
    ("{a} under {b}", "{z}在{y}的下面"),
    ("{a} without {b}", "没有{y}的{z}"),
    ("{a} or {b}", "{z}或者{y}"),
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """The same in both languages."""

    en: str
    zh: str


class PhraseBook:
    """Draws phrases from the glossary with a given generator."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.things = [e for e in entries if e.category in THING_CATEGORIES and len(e.en[0].split()) <= 2]
        self.people = [e for e in entries if e.category in {"people", "animal"} and " " not in e.en[0]]
        self.actions = [e for e in entries if e.category == "action" and len(e.en[0].split()) <= 3]
        self.places = [e for e in entries if e.category == "place" and len(e.en[0].split()) <= 2]

    def template(self, rng: np.random.Generator) -> Phrase:
        """A phrase from the grammar, of one thing or two."""
        first, second = self._pick(self.things, rng), self._pick(self.things, rng)
        kind = rng.random()
        if kind < 0.4:
            en, zh = ONE_THING[int(rng.integers(len(ONE_THING)))]
            name = first.en[0]
            return Phrase(en.format(a=with_article(name), n=name, p=plural(name)), zh.format(z=first.zh[0]))
        if kind < 0.62:
            return coloured(first, str(rng.choice(list(COLOURS))))
        if kind < 0.8:
            en, zh = TWO_THINGS[int(rng.integers(len(TWO_THINGS)))]
            return Phrase(
                en.format(a=with_article(first.en[0]), b=with_article(second.en[0])),
                zh.format(z=first.zh[0], y=second.zh[0]),
            )
        if kind < 0.9:
            return moving(first, str(rng.choice(list(MOTIONS))))
        who, what, where = (self._pick(x, rng) for x in (self.people, self.actions, self.places))
        if rng.random() < 0.5:
            return Phrase(f"{with_article(who.en[0])}, {what.en[0]}", f"{who.zh[0]}{what.zh[0]}")
        return Phrase(
            f"{what.en[0]} in the {where.en[0]}, {with_article(who.en[0])}",
            f"{who.zh[0]}在{where.zh[0]}{what.zh[0]}",
        )

    @staticmethod
    def _pick(entries: Sequence[Entry], rng: np.random.Generator) -> Entry:
        return entries[int(rng.integers(len(entries)))]


def coloured(entry: Entry, colour: str) -> Phrase:
    """``"a red apple"`` / ``"红色的苹果"``."""
    c = COLOURS[colour]
    return Phrase(with_article(f"{c.en} {entry.en[0]}"), f"{c.zh}色的{entry.zh[0]}")


def moving(entry: Entry, motion: str) -> Phrase:
    """``"an apple moving to the left"`` / ``"苹果向左移动"``."""
    en, zh = MOTIONS[motion]
    return Phrase(en.format(en=with_article(entry.en[0])), zh.format(zh=entry.zh[0]))


def with_article(name: str) -> str:
    """``"apple"`` → ``"an apple"``."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """A regular English plural."""
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"
