"""Validation material in every modality: one drawing family, held-out voices, clips, names."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.clips import make_clip
from chiasm.data.builders.icons import VALIDATION_FAMILY
from chiasm.data.builders.mels import MelShard, read_shard
from chiasm.data.builders.parallel import MOTIONS, with_article
from chiasm.data.builders.sounds import CLASSES
from chiasm.data.builders.spoken import read_phrases
from chiasm.data.builders.views import plain_view
from chiasm.inference import Model
from chiasm.modality import Image, Modality, Text, Video, item_of
from chiasm.preprocess.prepared import PreparedItem, PreparedPart
from chiasm.training.calibrate import Labelled
from chiasm.training.corpus import Corpus

PICTURES = 900
CLIPS = 160
VOICES = 400
PASSAGES = 200
PASSAGE_SENTENCES = 4
BACKGROUND = 256
SIDE = 192
OTHER_FAMILY = "emojione"
"""What pictures of the validation family are compared with; the image tower has seen it."""
_PASSAGE = "passage "
_PHRASINGS = ("a photo of {a}", "where is my {n}?", "{n} picture")


class ValidationSets:
    """Everything embedded once with the model that is to be calibrated."""

    def __init__(self, corpus: Corpus, audio: Path, model: Model) -> None:
        self.corpus, self.audio, self.model = corpus, audio, model
        self._ids: dict[str, int] = {}

    def queries_and_items(self) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
        """By modality. Pictures and clips are of validation drawings, voices of validation voices."""
        pictures, clips = self._pictures(), self._clips(2)
        spoken, sounds = self._spoken(), self._sounds()
        shown = {*pictures.labels.tolist(), *spoken.labels.tolist(), *sounds.labels.tolist()}
        query_text, written = self._written(shown)
        asked, passages = self._passages()
        heard = _join([spoken, sounds])
        queries = {
            "text": query_text,
            "text>text": asked,
            "image": pictures,
            "audio": heard,
            "video": clips,
        }
        items = {
            "text": written,
            "text>text": passages,
            "image": self._pictures(OTHER_FAMILY),
            "audio": heard,
            "video": self._clips(3),
        }
        return queries, items

    def _written(self, shown: set[int]) -> tuple[Labelled, Labelled]:
        """Queries and items of text: names of what is shown or heard."""
        concepts = self.corpus.concepts
        names = [(c.name, c.name) for c in concepts]
        asked = [
            (_PHRASINGS[i % len(_PHRASINGS)].format(a=with_article(c.name), n=c.name), c.name)
            for i, c in enumerate(concepts)
        ]
        wanted = [*names, *((c.zh[0], c.name) for c in concepts), *asked]
        queries = [pair for pair in wanted if self._id(pair[1]) in shown]
        queries += [(text, kind.en) for kind in CLASSES for text in (kind.en, kind.zh)]
        return self._texts(queries), self._texts(names)

    def _passages(self) -> tuple[Labelled, Labelled]:
        """What people ask of notes, and the notes: a sentence in the other language, or a few words."""
        training, held = self.corpus.sentences
        sentences = [*held, *training][: PASSAGES * PASSAGE_SENTENCES]
        queries: list[tuple[str, str]] = []
        items: list[tuple[str, str]] = []
        for number in range(PASSAGES):
            passage = sentences[number::PASSAGES]
            texts = [p.zh if number % 2 else p.en for p in passage]
            items.append((" ".join(texts), f"{_PASSAGE}{number}"))
            first, last = passage[0], passage[-1]
            words = sorted(re.findall(r"[A-Za-z]{4,}", last.en), key=len)[-3:]
            for text in (first.zh, first.en, " ".join(words)):
                if text and text not in texts:
                    queries.append((text, f"{_PASSAGE}{number}"))
        return self._texts(queries), self._texts(items)

    def names(self) -> NDArray[np.float32]:
        """Unit vectors [labels, d] of the names behind the labels; zero for passages, which have none."""
        vectors = self._embed(item_of(Text(name)) for name in self._ids)
        named = np.array([not name.startswith(_PASSAGE) for name in self._ids])
        return vectors * named[:, None].astype(np.float32)

    def background(self) -> dict[str, NDArray[np.float32]]:
        """Unit rows of other things, by modality."""
        rng = np.random.default_rng(1)
        glossary = self.corpus.glossary
        texts = [
            (e.en if i % 2 else e.zh)[0]
            for i, e in enumerate(glossary[j] for j in rng.permutation(len(glossary))[:BACKGROUND])
        ]
        gallery = self.corpus.gallery
        rows = rng.permutation(len(gallery.labels["clipart"]))[:BACKGROUND]
        pictures = [item_of(Image(plain_view(gallery.sprite("clipart", int(r)), 192))) for r in rows]
        voices = read_shard(self.audio / "train-00")
        clips = [
            item_of(
                Video(
                    make_clip(
                        gallery.sprite("clipart", int(r)), str(rng.choice(list(MOTIONS))), rng, side=192
                    ),
                    4.0,
                )
            )
            for r in rows[:96]
        ]
        return {
            "text": self._embed(item_of(Text(t)) for t in texts),
            "image": self._embed(pictures),
            "audio": self.model.embed_prepared(
                _heard(voices, rng.permutation(len(voices.lengths))[:BACKGROUND])
            ),
            "video": self._embed(clips),
        }

    def _id(self, name: str) -> int:
        return self._ids.setdefault(name.lower(), len(self._ids))

    def _embed(self, items: Iterable[Any]) -> NDArray[np.float32]:
        prepared: list[PreparedItem] = [self.model.preprocessor.prepare(item) for item in items]
        return np.concatenate(
            [self.model.embed_prepared(prepared[i : i + 64]) for i in range(0, len(prepared), 64)]
        )

    def _texts(self, pairs: Sequence[tuple[str, str]]) -> Labelled:
        vectors = self._embed(item_of(Text(text)) for text, _ in pairs)
        return Labelled(vectors, np.array([self._id(name) for _, name in pairs]))

    def _pictures(self, family: str = VALIDATION_FAMILY) -> Labelled:
        gallery, concepts = self.corpus.gallery, self.corpus.concepts
        rows = range(min(PICTURES, len(gallery.labels[family])))
        items = [item_of(Image(plain_view(gallery.sprite(family, row), SIDE))) for row in rows]
        labels = [self._id(concepts[gallery.concept(family, row)].name) for row in rows]
        return Labelled(self._embed(items), np.array(labels))

    def _clips(self, seed: int) -> Labelled:
        """The same things for every seed, moving otherwise."""
        gallery, concepts = self.corpus.gallery, self.corpus.concepts
        rows = np.random.default_rng(2).permutation(len(gallery.labels[VALIDATION_FAMILY]))[:CLIPS]
        rng = np.random.default_rng(seed)
        items = [
            item_of(
                Video(
                    make_clip(
                        gallery.sprite(VALIDATION_FAMILY, int(r)),
                        str(rng.choice(list(MOTIONS))),
                        rng,
                        side=192,
                    ),
                    4.0,
                )
            )
            for r in rows
        ]
        labels = [self._id(concepts[gallery.concept(VALIDATION_FAMILY, int(r))].name) for r in rows]
        return Labelled(self._embed(items), np.array(labels))

    def _spoken(self) -> Labelled:
        phrases = read_phrases(self.audio / "phrases.json")
        parts = []
        for language in ("en", "zh"):
            shard = read_shard(self.audio / f"validation-{language}")
            chosen = np.arange(min(VOICES, len(shard.lengths)))
            names = [phrases[int(shard.labels[i])].target for i in chosen]
            parts.append(
                Labelled(
                    self.model.embed_prepared(_heard(shard, chosen)), np.array([self._id(n) for n in names])
                )
            )
        return _join(parts)

    def _sounds(self) -> Labelled:
        shard = read_shard(self.audio / "sounds-validation")
        chosen = np.arange(len(shard.lengths))
        labels = np.array([self._id(CLASSES[int(shard.labels[i]) // 2].en) for i in chosen])
        return Labelled(self.model.embed_prepared(_heard(shard, chosen)), labels)


def _heard(shard: MelShard, rows: NDArray[np.int64]) -> list[PreparedItem]:
    return [
        PreparedItem(
            (PreparedPart(Modality.AUDIO, {"log_mel": np.asarray(shard.clip(int(r)), np.float32)}, 0, 1.0),)
        )
        for r in rows
    ]


def _join(parts: Sequence[Labelled]) -> Labelled:
    return Labelled(np.concatenate([p.vectors for p in parts]), np.concatenate([p.labels for p in parts]))
