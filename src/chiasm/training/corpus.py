"""What the stages share: the built corpus, opened once."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from chiasm.data.builders.concepts import Concept, load_concepts
from chiasm.data.builders.glossary import Entry, load_glossary, load_imagenet, load_sentences
from chiasm.data.builders.notes import HELD_EVERY
from chiasm.data.builders.parallel import Phrase, PhraseBook
from chiasm.data.builders.plan import Gallery, ViewSpec, load_plan
from chiasm.data.builders.sources import Sources
from chiasm.data.builders.vocabulary import choose_words, extend_tokenizer, glosses, translations
from chiasm.training.teacher import Teacher

_HAN = re.compile(r"^[\u3400-\u9fff]+$")


@dataclass(frozen=True)
class Corpus:
    """A folder made by ``chiasm data build``."""

    folder: Path
    sources: Sources

    @cached_property
    def concepts(self) -> list[Concept]:
        """The emoji concepts."""
        return load_concepts(self.sources)

    @cached_property
    def glossary(self) -> list[Entry]:
        """The project's own glossary."""
        return load_glossary()

    @cached_property
    def imagenet(self) -> list[Entry]:
        """The 1,000 classes."""
        return load_imagenet()

    @cached_property
    def gallery(self) -> Gallery:
        """The drawings."""
        return Gallery(self.folder / "pictures")

    @cached_property
    def plan(self) -> list[ViewSpec]:
        """The views."""
        return load_plan(self.folder / "plan.jsonl")

    @cached_property
    def teacher(self) -> Teacher:
        """English text vectors."""
        return Teacher(self.folder / "teacher.npz")

    @cached_property
    def names(self) -> list[Phrase]:
        """Every name in both languages: glossary, ImageNet classes, emoji."""
        phrases = [Phrase(e.en[0], zh) for e in (*self.glossary, *self.imagenet) for zh in e.zh]
        return phrases + [Phrase(c.en[0], c.zh[0]) for c in self.concepts]

    @cached_property
    def sentences(self) -> tuple[list[Phrase], list[Phrase]]:
        """Parallel sentences for training and for validation."""
        phrases = [Phrase(en, zh) for en, zh in load_sentences()]
        training = [p for i, p in enumerate(phrases) if i % HELD_EVERY]
        return training, phrases[::HELD_EVERY]

    def templates(self, count: int, seed: int) -> list[Phrase]:
        """Phrases drawn from the grammar."""
        book = PhraseBook(self.glossary)
        rng = np.random.default_rng(seed)
        return [book.template(rng) for _ in range(count)]

    def words(self, english: Tokenizer) -> tuple[list[str], list[list[str]], Tokenizer]:
        """The new words in the order of their ids, what they mean, and the tokenizer that knows them."""
        table = translations([(p.en, p.zh) for p in self.names if _HAN.match(p.zh)])
        extended = Tokenizer.from_str(english.to_str())
        base = extended.get_vocab_size()
        chosen = choose_words(table)
        extend_tokenizer(extended, chosen)
        # Characters that the published vocabulary has keep their published id.
        ids = extended.get_vocab()
        new = sorted((w for w in chosen if ids[w] >= base), key=ids.__getitem__)
        return new, glosses(new, table), extended
