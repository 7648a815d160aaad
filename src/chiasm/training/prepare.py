"""Bring each stage's data and modules together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from chiasm.data.builders.icons import TRAIN_FAMILIES, VALIDATION_FAMILY
from chiasm.data.builders.mels import join, read_shard, shorter
from chiasm.data.builders.sounds import captions
from chiasm.data.builders.spoken import read_phrases
from chiasm.data.splits import held_out
from chiasm.errors import DataError
from chiasm.modality import Modality
from chiasm.models.mini.audio import AudioEncoder
from chiasm.models.mini.fusion import Encoded, Fusion, FusionConfig
from chiasm.models.mini.image import ImageHeadConfig, ImageTower
from chiasm.models.mini.lexicon import Lexicon
from chiasm.models.mini.video import MotionConfig, MotionEncoder
from chiasm.training.backbones import load_minilm, load_trunk
from chiasm.training.corpus import Corpus
from chiasm.training.distil import load_synthetic
from chiasm.training.features import FeatureSet, load_features
from chiasm.training.fusion_data import fusion_material
from chiasm.training.image_data import Encode, image_checks, image_targets
from chiasm.training.loop import Stage
from chiasm.training.stages.audio import AudioStage, AudioStageConfig
from chiasm.training.stages.audio_batches import AudioBatches
from chiasm.training.stages.fusion import FusionStage, FusionStageConfig, Part
from chiasm.training.stages.image import ImageStage, ImageStageConfig, stored_views
from chiasm.training.stages.text import ExtendedText, TextStage, TextStageConfig, first_embeddings
from chiasm.training.stages.video import Drawing, VideoStage, VideoStageConfig, motion_texts
from chiasm.training.start import weights_of

TEMPLATES = 8000
SPOKEN_FRAMES = 130
SOUND_FRAMES = 260
"""Longer training clips are left out: 1.6 and 3.3 seconds."""


@dataclass(frozen=True)
class Workshop:
    """Where the corpus lies, where stages write, on what they compute, and the share of their steps that they
    take."""

    corpus: Corpus
    runs: Path
    device: torch.device
    share: float = 1.0

    def steps(self, usual: int) -> int:
        """How many steps a stage of ``usual`` steps takes, at least one."""
        return max(1, round(usual * self.share))


def prepare_text(shop: Workshop) -> TextStage:
    """Chinese words beside the frozen English encoder."""
    corpus = shop.corpus
    bert, english = load_minilm()
    _, meanings, tokenizer = corpus.words(english)
    module = ExtendedText(bert, first_embeddings(bert, english, meanings)).to(shop.device)
    training, held = corpus.sentences
    templates, held_templates = corpus.templates(TEMPLATES, 7), corpus.templates(300, 8)
    names = corpus.names
    emoji = names[-len(corpus.concepts) :]
    everything = [*names, *training, *held, *templates, *held_templates]
    vectors = corpus.teacher.vectors([p.en for p in everything])
    return TextStage(
        module,
        tokenizer,
        names=names,
        templates=templates,
        sentences=training,
        vectors=vectors,
        checks={"held-out sentences": held, "held-out templates": held_templates, "emoji names": emoji[::3]},
        config=TextStageConfig(steps=shop.steps(TextStageConfig.steps)),
    )


def text_tower(shop: Workshop) -> Encode:
    """The finished text stage, frozen."""
    stage = prepare_text(shop)
    load_stage(stage.module, shop.runs / "text")
    stage.module.eval().requires_grad_(False)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = np.zeros((len(texts), stage.module.words.shape[1]), np.float32)
        for start in range(0, len(order), 64):
            chosen = order[start : start + 64]
            found[chosen] = stage.encode([texts[i] for i in chosen]).cpu().numpy()
        return found

    return encode


def prepare_image(shop: Workshop) -> ImageStage:
    """The head and the trunk's upper part over the cached features of the plan's views."""
    corpus = shop.corpus
    features = load_features(corpus.folder / "features")
    encode = text_tower(shop)
    return ImageStage(
        _published_tower().to(shop.device),
        features=features,
        targets=image_targets(corpus, features, encode),
        synthetic=load_synthetic(corpus.folder / "synthetic.npz"),
        checks=image_checks(corpus, features, encode),
        config=ImageStageConfig(steps=shop.steps(ImageStageConfig.steps)),
    )


def _published_tower() -> ImageTower:
    """The published trunk under a head that knows nothing yet."""
    trunk = load_trunk()
    tower = ImageTower(trunk.config, ImageHeadConfig())
    tower.trunk.load_state_dict(trunk.state_dict())
    return tower


def image_tower(shop: Workshop) -> ImageTower:
    """The finished image stage, frozen."""
    tower = _published_tower()
    load_stage(tower, shop.runs / "image")
    return tower.to(shop.device).eval().requires_grad_(False)


def prepare_video(shop: Workshop) -> VideoStage:
    """Motion from procedural clips of the drawings, over the finished image tower."""
    corpus = shop.corpus
    encode = text_tower(shop)
    concepts = [i for i, c in enumerate(corpus.concepts) if not held_out(c.name)][::5]
    english = motion_texts([corpus.concepts[i].name for i in concepts], "en")
    chinese = motion_texts([corpus.concepts[i].zh[0] for i in concepts], "zh")
    corpus.teacher.vectors([t for row in english for t in row])
    shown = _plain_views(shop, {concept: thing for thing, concept in enumerate(concepts)})
    return VideoStage(
        MotionEncoder(MotionConfig()).to(shop.device),
        gallery=corpus.gallery,
        drawings=[d for d in shown if d.placed.family in TRAIN_FAMILIES],
        checks=[d for d in shown if d.placed.family == VALIDATION_FAMILY],
        texts={
            "en": np.stack([corpus.teacher.matrix(row) for row in english]),
            "zh": np.stack([encode(row) for row in chinese]),
        },
        config=VideoStageConfig(steps=shop.steps(VideoStageConfig.steps)),
    )


def _plain_views(shop: Workshop, things: Mapping[int, int]) -> list[Drawing]:
    """The drawings of these concepts, with what the image tower says of them alone on white."""
    features = load_features(shop.corpus.folder / "features")
    placed = [
        (row, view.placed[0])
        for row, view in ((row, shop.corpus.plan[number]) for row, number in enumerate(features.views))
        if view.kind == "plain" and view.split != "test" and view.placed[0].concept in things
    ]
    vectors, _ = stored_views(image_tower(shop), features, [row for row, _ in placed])
    return [
        Drawing(where, things[where.concept], vector)
        for (_, where), vector in zip(placed, F.normalize(vectors, dim=-1).cpu().numpy(), strict=True)
    ]


def prepare_fusion(shop: Workshop) -> FusionStage:
    """Fusion over the finished text and image towers."""
    corpus = shop.corpus
    features = load_features(corpus.folder / "features")
    towers = Towers(shop, features)
    return FusionStage(
        Fusion(FusionConfig()).to(shop.device),
        encode=towers.encode,
        config=FusionStageConfig(steps=shop.steps(FusionStageConfig.steps)),
        **fusion_material(corpus, features),
    )


class Towers:
    """The trained text and image towers, frozen, over texts and stored features."""

    def __init__(self, shop: Workshop, features: FeatureSet) -> None:
        self.text = prepare_text(shop)
        load_stage(self.text.module, shop.runs / "text")
        self.text.module.eval().requires_grad_(False)
        self.image = image_tower(shop)
        self.features = features
        self.device = shop.device

    def encode(self, parts: Sequence[Part]) -> list[Encoded]:
        """Each part as its tower gives it."""
        found: dict[int, Encoded] = {}
        texts = [i for i, part in enumerate(parts) if part.modality is Modality.TEXT]
        if texts:
            vectors, states, lengths = self.text.states([parts[i].text for i in texts])
            for i, vector, state, length in zip(texts, vectors, states, lengths, strict=True):
                found[i] = Encoded(Modality.TEXT, vector, state[:length])
        stored = [i for i, part in enumerate(parts) if part.row >= 0]
        if stored:
            rows = [parts[i].row for i in stored]
            for i, vector, patches in zip(
                stored, *stored_views(self.image, self.features, rows), strict=True
            ):
                # A clip's tokens are the vectors of its frames.
                seen = (
                    patches
                    if parts[i].modality is Modality.IMAGE
                    else F.normalize(vector, dim=-1).expand(4, -1)
                )
                found[i] = Encoded(parts[i].modality, vector, seen)
        for i, part in enumerate(parts):
            if part.vector is not None:
                heard = torch.from_numpy(part.vector).to(self.device)
                found[i] = Encoded(part.modality, heard, heard.new_zeros((0, len(heard))))
        return [found[i] for i in range(len(parts))]


def load_stage(module: nn.Module, folder: Path) -> None:
    """Put a stage's weights into ``module``.

    Raises:
        DataError: the stage has not been trained.
    """
    weights = weights_of(folder)
    if not weights:
        raise DataError(
            f"expected the finished stage {folder.name} in {folder}; train it first",
            f"{folder} 中应有训练好的 {folder.name} 阶段；请先训练它",
            param=folder.name,
        )
    module.load_state_dict(weights, strict=False)


def prepare_audio(shop: Workshop) -> AudioStage:
    """Spoken names and sounds; the emoji's names first, then all of them."""
    corpus = shop.corpus
    folder = corpus.folder / "audio"
    phrases = read_phrases(folder / "phrases.json")
    spoken = sorted(path.with_suffix("") for path in folder.glob("train-[0-9][0-9].npz"))
    speech = shorter(join(read_shard(stem) for stem in spoken), SPOKEN_FRAMES)
    easy = speech.where(np.array([phrases[int(label)].category == "emoji" for label in speech.labels]))
    sounds = shorter(read_shard(folder / "sounds-train"), SOUND_FRAMES)
    texts = captions()
    return AudioStage(
        module=AudioEncoder().to(shop.device),
        batches=AudioBatches(speech=speech, easy=easy, sounds=sounds.shifted(len(phrases))).hastened(
            shop.share
        ),
        phrases=phrases,
        sounds=texts,
        vectors=corpus.teacher.vectors([*(p.target for p in phrases), *texts]),
        checks={name: read_shard(folder / f"validation-{name}") for name in ("en", "zh", "en-new", "zh-new")},
        config=AudioStageConfig(steps=shop.steps(AudioStageConfig.steps)),
    )


def audio_extras(shop: Workshop) -> dict[str, Any]:
    """What a checkpoint holds beside the audio tower's weights."""
    phrases = read_phrases(shop.corpus.folder / "audio" / "phrases.json")
    names = [p.text for p in phrases if p.category != "sentence"]
    return {"lexicon": Lexicon.of(names).to_bytes()}


STAGES: dict[str, Callable[[Workshop], Stage]] = {
    "text": prepare_text,
    "image": prepare_image,
    "audio": prepare_audio,
    "video": prepare_video,
    "fusion": prepare_fusion,
}
