"""How things move: clips of drawings that were never trained on, told apart by eight sentences."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chiasm.data.builders.clips import OPPOSITE, make_clip
from chiasm.data.builders.concepts import Concept
from chiasm.data.builders.parallel import MOTIONS, with_article
from chiasm.evaluation.material import SIDE, Material, Vectors
from chiasm.evaluation.metrics import one_hot, ranks, recall_at
from chiasm.evaluation.report import Row, Target, measured
from chiasm.modality import Video

GROUP = "video"
THINGS = 24
FRAMES = 8
FPS = 4.0
KINDS = tuple(MOTIONS)
OPPOSITES = np.array([KINDS.index(OPPOSITE[kind]) for kind in KINDS])

Frames = NDArray[np.uint8]


def video(material: Material) -> list[Row]:
    """Motion 8-way, the same clips reversed (which must give the opposite), and a still as control."""
    shown = material.drawings
    chosen = material.sample(len(shown.rows), THINGS, "video")
    concepts = [material.concepts[shown.concept[i]] for i in chosen]
    clips = [clip for i in chosen for clip in _clips_of(material, int(shown.rows[i]))]
    label = np.tile(np.arange(len(KINDS)), len(chosen))
    forwards = _embed(material, clips)
    backwards = _embed(material, [clip[::-1] for clip in clips])
    stills = _embed(material, [np.repeat(clip[:1], FRAMES, axis=0) for clip in clips[:: len(KINDS)]])
    rows = []
    for language in ("en", "zh"):
        texts = _texts(material, concepts, language)
        right = _right(forwards, texts, label)
        turned = _right(backwards, texts, OPPOSITES[label])
        # One motion for each still, so that guessing is right once in eight.
        control = _right(np.repeat(stills, len(KINDS), axis=0), texts, label)
        for what, hits, baselines in (
            ("motion, 8 ways", right, {"its first frame as a still clip": float(control.mean())}),
            ("motion of reversed clips: the opposite", turned, {}),
            ("motion right, and flipped when reversed", right & turned, {}),
        ):
            rows.append(
                measured(
                    GROUP,
                    f"{what}, {language}",
                    hits,
                    gallery=len(KINDS),
                    chance=1 / 64 if hits is not right and hits is not turned else 1 / 8,
                    baselines=baselines,
                    target=Target(least=0.90),
                )
            )
    return rows


def _clips_of(material: Material, row: int) -> list[Frames]:
    sprite = material.gallery.sprite(material.family, row)
    rng = material.rng(f"clips {row}")
    return [make_clip(sprite, kind, rng, frames=FRAMES, side=SIDE) for kind in KINDS]


def _embed(material: Material, clips: Sequence[Frames]) -> Vectors:
    return material.model.embed([Video(np.ascontiguousarray(clip), FPS) for clip in clips])


def _texts(material: Material, concepts: Sequence[Concept], language: str) -> Vectors:
    """[things, 8, d]: each thing's name in the eight sentences."""
    sentences = [
        MOTIONS[kind][0].format(en=with_article(c.name))
        if language == "en"
        else MOTIONS[kind][1].format(zh=c.zh[0])
        for c in concepts
        for kind in KINDS
    ]
    return material.texts(sentences).reshape(len(concepts), len(KINDS), -1)


def _right(vectors: Vectors, texts: Vectors, label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each clip [n] is nearest to the sentence of its own thing that says ``label`` [n]."""
    own = np.repeat(texts, len(KINDS), axis=0)
    similarity = np.einsum("nd,nkd->nk", vectors, own)
    return recall_at(ranks(similarity, one_hot(label, len(KINDS))), 1)
