"""The fusion stage's things, pairs and held-out combinations."""

from collections import defaultdict
from typing import Any

import numpy as np

from chiasm.data.builders.palette import COLOURS
from chiasm.data.builders.parallel import with_article
from chiasm.data.builders.plan import ALONE
from chiasm.data.splits import held_out
from chiasm.training.corpus import Corpus
from chiasm.training.features import FeatureSet
from chiasm.training.image_data import scene_caption
from chiasm.training.stages.fusion import Pair, Thing


def fusion_material(corpus: Corpus, features: FeatureSet) -> dict[str, Any]:
    """``things``, ``pairs``, ``held_pairs``, ``allowed`` for :class:`FusionStage`."""
    concepts, plan = corpus.concepts, corpus.plan
    pictures: dict[int, list[int]] = defaultdict(list)
    for row, number in enumerate(features.views):
        view = plan[number]
        if view.split == "train" and view.kind in ALONE and view.placed[0].concept >= 0:
            pictures[view.placed[0].concept].append(row)
    chosen = sorted(pictures)
    place = {concept: i for i, concept in enumerate(chosen)}
    names = [concepts[c].name for c in chosen]
    dyed = [[with_article(f"{colour} {name}") for colour in COLOURS] for name in names]
    scenes = [
        view for view in plan if view.kind == "scene" and view.split == "train" and len(view.placed) == 2
    ]
    scenes = [view for view in scenes if all(p.concept in place for p in view.placed)]
    captions = [scene_caption(view, concepts) for view in scenes]
    table = corpus.teacher.vectors([*names, *captions, *(text for row in dyed for text in row)])
    things = [
        Thing(
            en=name,
            zh=concepts[concept].zh[0],
            vector=table[name],
            pictures=np.array(pictures[concept]),
            colours=np.stack([table[text] for text in texts]),
        )
        for concept, name, texts in zip(chosen, names, dyed, strict=True)
    ]
    pairs: dict[bool, list[Pair]] = {False: [], True: []}
    for view, caption in zip(scenes, captions, strict=True):
        first, second = (place[p.concept] for p in view.placed)
        pairs[held_out(caption)].append(Pair(first, second, table[caption]))
    allowed = np.array([[not held_out(text) for text in texts] for texts in dyed])
    return {"things": things, "pairs": pairs[False], "held_pairs": pairs[True], "allowed": allowed}
