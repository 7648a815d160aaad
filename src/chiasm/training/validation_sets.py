"""Validation material in every modality: drawings of one family, held-out voices, clips, names, notes.

Everything goes the way that a user's file goes: waveforms through the recogniser, pictures through the
model's own preprocessing. A curve that is fitted on anything else does not hold for what is served.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.clips import make_clip
from chiasm.data.builders.glossary import load_sentences
from chiasm.data.builders.icons import VALIDATION_FAMILY
from chiasm.data.builders.notes import calibration_and_evaluation
from chiasm.data.builders.parallel import MOTIONS, with_article
from chiasm.data.builders.sounds import CLASSES, RATE, SoundFont
from chiasm.evaluation.material import Material
from chiasm.evaluation.sounds import takes
from chiasm.evaluation.speech import espeak_voice, spoken
from chiasm.inference import Model
from chiasm.modality import Audio, Video
from chiasm.training.calibrate import Labelled
from chiasm.training.corpus import Corpus

PICTURES = 900
CLIPS = 160
SPOKEN = 350
"""Names that are said, in each language."""
BACKGROUND = 256
MOVING = 96
"""Clips of the background."""
SIDE = 192
FPS = 4.0
OTHER_FAMILY = "emojione"
"""What is compared with pictures and clips of the validation family's drawings: the same things drawn by
others. The image tower has seen it."""
BACKGROUND_FAMILY = "clipart"
_NOTE = "note "
_PHRASINGS = ("a photo of {a}", "where is my {n}?", "{n} picture")


class ValidationSets:
    """Everything embedded once with the model that is to be calibrated."""

    def __init__(self, corpus: Corpus, model: Model) -> None:
        self.corpus = corpus
        self.material = Material(
            model=model, data=corpus.folder, sources=corpus.sources, split="validation", seed=1
        )
        self._ids: dict[str, int] = {}

    def queries_and_items(self) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
        """By modality and kind. Pictures and clips are of validation drawings, voices validation voices."""
        pictures, others = self._pictures(VALIDATION_FAMILY), self._pictures(OTHER_FAMILY)
        heard = _join([self._spoken("en"), self._spoken("zh"), self._sounds()])
        shown = {*pictures.labels.tolist(), *heard.labels.tolist()}
        names, phrases, written = self._written(shown)
        asked, notes = self._notes()
        clips, moving = self._clips(2), self._clips(3)
        queries = {
            "text": _join([names, phrases]),
            "text>text": names,  # among names a name is asked for: phrases would let more strangers through
            "text>passage": asked,
            "image": pictures,
            "audio": heard,
            "video": clips,
        }
        items = {
            "text": written,
            "passage": notes,
            "image": pictures,
            "image>image": others,
            "video>image": others,
            "audio": heard,
            "video": moving,
        }
        return queries, items

    def names(self) -> NDArray[np.float32]:
        """Unit vectors [labels, d] of the names behind the labels; zero for notes, which have none."""
        vectors = self.material.texts(list(self._ids))
        named = np.array([not name.startswith(_NOTE) for name in self._ids])
        return vectors * named[:, None].astype(np.float32)

    def background(self) -> dict[str, NDArray[np.float32]]:
        """Unit rows of other things, by modality."""
        rng = np.random.default_rng(1)
        glossary = self.corpus.glossary
        chosen = [glossary[j] for j in rng.permutation(len(glossary))[:BACKGROUND]]
        words = [(entry.en if i % 2 else entry.zh)[0] for i, entry in enumerate(chosen)]
        drawn = len(self.material.gallery.labels[BACKGROUND_FAMILY])
        rows = rng.permutation(drawn)[:BACKGROUND]
        speech = [
            spoken(self.material, words[n::4], espeak_voice("train", "en" if n % 2 else "zh")).vectors
            for n in (0, 1)
        ]
        kinds = rng.permutation(len(CLASSES))
        return {
            "text": self.material.texts(words),
            "image": self.material.drawings_of(BACKGROUND_FAMILY, rows.tolist()).vectors,
            "audio": np.concatenate([*speech, self._played("train", kinds).vectors]),
            "video": self._moving(BACKGROUND_FAMILY, rows[:MOVING], rng),
        }

    def _id(self, name: str) -> int:
        return self._ids.setdefault(name.lower(), len(self._ids))

    def _texts(self, pairs: Sequence[tuple[str, str]]) -> Labelled:
        vectors = self.material.texts([text for text, _ in pairs])
        return Labelled(vectors, np.array([self._id(name) for _, name in pairs]))

    def _written(self, shown: set[int]) -> tuple[Labelled, Labelled, Labelled]:
        """Names of what is shown or heard as queries, phrases with them, and all names as items."""
        concepts = self.corpus.concepts
        names = [(c.name, c.name) for c in concepts]
        asked = [
            (_PHRASINGS[i % len(_PHRASINGS)].format(a=with_article(c.name), n=c.name), c.name)
            for i, c in enumerate(concepts)
        ]
        wanted = [*names, *((c.zh[0], c.name) for c in concepts)]
        wanted += [(text, kind.en) for kind in CLASSES for text in (kind.en, kind.zh)]
        queries, phrases = (
            self._texts([pair for pair in pairs if self._id(pair[1]) in shown]) for pairs in (wanted, asked)
        )
        return queries, phrases, self._texts(names)

    def _notes(self) -> tuple[Labelled, Labelled]:
        """What people ask of notes, and the notes."""
        notes, _ = calibration_and_evaluation(load_sentences())
        return (
            self._texts([(text, f"{_NOTE}{n}") for n, note in enumerate(notes) for text in note.asked]),
            self._texts([(note.text, f"{_NOTE}{n}") for n, note in enumerate(notes)]),
        )

    def _pictures(self, family: str) -> Labelled:
        drawn = len(self.material.gallery.labels[family])
        shown = self.material.drawings_of(family, range(min(PICTURES, drawn)))
        return Labelled(shown.vectors, self._concepts(shown.concept))

    def _clips(self, seed: int) -> Labelled:
        """The same things for every seed, moving otherwise."""
        drawn = len(self.material.gallery.labels[VALIDATION_FAMILY])
        rows = np.random.default_rng(2).permutation(drawn)[:CLIPS]
        vectors = self._moving(VALIDATION_FAMILY, rows, np.random.default_rng(seed))
        concepts = [self.material.gallery.concept(VALIDATION_FAMILY, int(row)) for row in rows]
        return Labelled(vectors, self._concepts(concepts))

    def _moving(self, family: str, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        sprites = [self.material.gallery.sprite(family, int(row)) for row in rows]
        clips = [make_clip(sprite, str(rng.choice(list(MOTIONS))), rng, side=SIDE) for sprite in sprites]
        return self.material.model.embed([Video(clip, FPS) for clip in clips])

    def _spoken(self, language: str) -> Labelled:
        names = self.material.names(language)
        chosen = self.material.sample(len(names), SPOKEN, f"calibration-{language}")
        heard = spoken(self.material, [names[i] for i in chosen], espeak_voice(self.material.split, language))
        return Labelled(heard.vectors, self._concepts(chosen[heard.said]))

    def _sounds(self) -> Labelled:
        return self._played(self.material.split, np.arange(len(CLASSES)))

    def _played(self, split: str, kinds: NDArray[np.int64]) -> Labelled:
        font = SoundFont(self.material.sources.soundfont)
        clips, place = takes(font, split, kinds, 1, self.material.seed)
        vectors = self.material.model.embed([Audio(clip, RATE) for clip in clips])
        return Labelled(vectors, np.array([self._id(CLASSES[k].en) for k in kinds[place]]))

    def _concepts(self, concepts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self._id(self.corpus.concepts[int(concept)].name) for concept in concepts])


def _join(parts: Sequence[Labelled]) -> Labelled:
    return Labelled(np.concatenate([p.vectors for p in parts]), np.concatenate([p.labels for p in parts]))
