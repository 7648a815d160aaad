"""The contract of chiasm-mini, on a tiny one of the same architecture."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiasm.errors import CheckpointError
from chiasm.modality import Modality
from chiasm.models.bert.config import BertConfig
from chiasm.models.efficientnet.config import EfficientNetConfig, StageConfig
from chiasm.models.mini import model as mini
from chiasm.models.mini.audio import AudioEncoderConfig, AudioOutput
from chiasm.models.mini.config import MiniConfig
from chiasm.models.mini.fusion import FusionConfig
from chiasm.models.mini.image import ImageHeadConfig
from chiasm.models.mini.model import ChiasmMini
from chiasm.models.mini.video import MotionConfig
from chiasm.preprocess.prepared import PreparedItem, PreparedPart

WIDTH, SIDE, MELS = 16, 64, 8


def tiny() -> MiniConfig:
    """Every part of the real one, small."""
    channels = (4, 4, 6, 6, 8, 10, 12)
    strides = (1, 2, 2, 2, 1, 2, 1)
    stages = tuple(
        StageConfig(repeats=1, kernel=3, stride=stride, expansion=1 if i == 0 else 2, channels=own)
        for i, (own, stride) in enumerate(zip(channels, strides, strict=True))
    )
    return MiniConfig(
        text=BertConfig(vocabulary=50, positions=32, width=WIDTH, depth=1, heads=2, hidden=24),
        trunk=EfficientNetConfig(stem=4, stages=stages, head=24, classes=0),
        image=ImageHeadConfig(
            pooled=24,
            coarse=12,
            fine=8,
            positions=4,
            hidden=20,
            width=8,
            heads=2,
            feed_forward=12,
            depth=1,
            queries=2,
            dim=WIDTH,
        ),
        audio=AudioEncoderConfig(mels=MELS, stem=12, width=12, blocks=1, kernel=3, heads=2, dim=WIDTH),
        motion=MotionConfig(side=16, patch=8, width=8, heads=2, hidden=12, depth=1, dim=WIDTH),
        fusion=FusionConfig(width=WIDTH, heads=2, hidden=24, depth=1, parts=4),
    )


@pytest.fixture(scope="module")
def model() -> ChiasmMini:
    """As if trained: nothing is at the zero where training starts."""
    torch.manual_seed(0)
    made = ChiasmMini(tiny()).eval()
    for layer in (made.image.head.correction, made.fusion.correction):
        nn.init.normal_(layer.weight, std=0.3)
        nn.init.normal_(layer.bias, std=0.3)
    for layer in made.image.trunk.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return made


def part(modality: Modality, **arrays: np.ndarray) -> PreparedPart:
    return PreparedPart(modality, arrays, 0, 1.0)


def text(length: int, seed: int = 0) -> PreparedPart:
    ids = np.random.default_rng(seed).integers(1, 50, length).astype(np.int32)
    return part(Modality.TEXT, token_ids=ids)


def squares(frames: int, seed: int) -> np.ndarray:
    """Pictures of a few coloured squares, which a trunk that was never trained can tell apart."""
    colours = np.random.default_rng(seed).integers(0, 256, (frames, 2, 2, 3)).astype(np.uint8)
    return colours.repeat(SIDE // 2, axis=1).repeat(SIDE // 2, axis=2)


def image(seed: int = 0) -> PreparedPart:
    return part(Modality.IMAGE, pixels=squares(1, seed)[0])


def mel(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, MELS)).astype(np.float32)


def audio(frames: int, seed: int = 0) -> PreparedPart:
    return part(Modality.AUDIO, log_mel=mel(frames, seed))


def video(frames: int, seed: int = 0, sound: int = 0) -> PreparedPart:
    pixels = squares(frames, seed)
    if sound:
        return part(Modality.VIDEO, pixels=pixels, log_mel=mel(sound, seed))
    return part(Modality.VIDEO, pixels=pixels)


def item(*parts: PreparedPart) -> PreparedItem:
    return PreparedItem(parts)


def several() -> list[PreparedItem]:
    """Every modality alone in two lengths, and mixed ones."""
    return [
        item(text(3)),
        item(image(1)),
        item(audio(12)),
        item(video(4)),
        item(text(20, seed=2)),
        item(audio(150, seed=3)),
        item(video(3, seed=4, sound=40)),
        item(text(5), image(2)),
        item(video(1, seed=5)),
        item(image(3), image(4), text(9), audio(30), video(2, seed=6)),
        item(video(4, seed=7, sound=9)),
    ]


def embed(model: ChiasmMini, items: Sequence[PreparedItem]) -> Tensor:
    with torch.inference_mode():
        return model.embed(items)


def test_every_item_gets_a_unit_vector(model: ChiasmMini) -> None:
    vectors = embed(model, several())
    assert vectors.shape == (11, WIDTH)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(11), atol=1e-6)
    likeness = vectors @ vectors.T - torch.eye(11)
    assert likeness.max() < 0.9999  # no two of them are the same


def test_no_items_get_no_vectors(model: ChiasmMini) -> None:
    assert embed(model, []).shape == (0, WIDTH)


def test_a_batch_of_many_equals_batches_of_one(model: ChiasmMini) -> None:
    items = several()
    one_by_one = torch.cat([embed(model, [own]) for own in items])
    assert torch.allclose(embed(model, items), one_by_one, atol=1e-5)


def test_items_come_back_in_their_order(model: ChiasmMini) -> None:
    items = several()
    order = np.random.default_rng(0).permutation(len(items)).tolist()
    shuffled = embed(model, [items[i] for i in order])
    assert torch.allclose(shuffled, embed(model, items)[order], atol=1e-5)


def test_cutting_into_smaller_batches_changes_nothing(
    model: ChiasmMini, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = several()
    whole = embed(model, items)
    sizes: list[int] = []
    original = ChiasmMini._encode_batch

    def counted(self: ChiasmMini, modality: Modality, parts: Sequence[PreparedPart]) -> Any:
        sizes.append(len(parts))
        return original(self, modality, parts)

    monkeypatch.setattr(ChiasmMini, "_encode_batch", counted)
    monkeypatch.setattr(mini, "TOKENS_PER_BATCH", 8)
    monkeypatch.setattr(mini, "PICTURES_PER_BATCH", {"cpu": 1})
    monkeypatch.setattr(mini, "FRAMES_PER_BATCH", 20)
    assert torch.allclose(embed(model, items), whole, atol=1e-5)
    assert sizes == [1] * sum(len(own.parts) for own in items)


def test_a_part_alone_is_its_towers_vector(model: ChiasmMini) -> None:
    words, picture, sound, clip = text(6), image(1), audio(50), video(4)
    with torch.inference_mode():
        ids = torch.from_numpy(words.arrays["token_ids"].astype(np.int64))[None]
        expected = [
            model.encode_text(ids, torch.ones_like(ids, dtype=torch.bool))[0],
            model.image(torch.from_numpy(picture.arrays["pixels"])[None])[0],
            model.audio(torch.from_numpy(sound.arrays["log_mel"])[None], torch.tensor([50])).vector,
            model.encode_video(torch.from_numpy(clip.arrays["pixels"])[None])[0],
        ]
        towers = F.normalize(torch.cat(expected), dim=-1)
    got = embed(model, [item(own) for own in (words, picture, sound, clip)])
    assert torch.allclose(got, towers, atol=1e-5)
    with torch.inference_mode():
        assert torch.allclose(model.text_vectors([words.arrays["token_ids"]]), towers[:1], atol=1e-5)


def test_padding_of_texts_and_sounds_changes_nothing(model: ChiasmMini) -> None:
    with torch.inference_mode():
        ids = torch.from_numpy(text(5).arrays["token_ids"].astype(np.int64))[None]
        padded = F.pad(ids, (0, 9), value=7)
        mask = torch.arange(14)[None] < 5
        alone, states = model.encode_text(ids, mask[:, :5])
        together, more = model.encode_text(padded, mask)
        assert torch.allclose(alone, together, atol=1e-5)
        assert torch.allclose(states, more[:, :5], atol=1e-5)
        sound = torch.from_numpy(mel(37))[None]
        short = model.audio(sound, torch.tensor([37]))
        long = model.audio(F.pad(sound, (0, 0, 0, 30), value=9.0), torch.tensor([37]))
        assert torch.allclose(short.vector, long.vector, atol=1e-5)
        assert torch.allclose(short.tokens, long.tokens, atol=1e-5)


def test_a_sound_track_adds_its_share(model: ChiasmMini) -> None:
    clip, silent = video(3, seed=4, sound=40), video(3, seed=4)
    sound = part(Modality.AUDIO, log_mel=clip.arrays["log_mel"])
    shown, heard, both = embed(model, [item(silent), item(sound), item(clip)])
    assert torch.allclose(both, F.normalize(shown + mini.SOUND_WEIGHT * heard, dim=-1), atol=1e-5)


def test_a_clip_of_one_frame_is_its_picture(model: ChiasmMini) -> None:
    clip = video(1)
    picture = part(Modality.IMAGE, pixels=clip.arrays["pixels"][0])
    assert torch.allclose(*embed(model, [item(clip), item(picture)]), atol=1e-5)


def test_a_listener_decides_what_sounds_mean(model: ChiasmMini) -> None:
    class Words:
        def decide(self, output: AudioOutput, parts: Sequence[PreparedPart], model: ChiasmMini) -> Tensor:
            assert output.vector.shape == (len(parts), WIDTH)
            return torch.eye(WIDTH)[[len(own.arrays["log_mel"]) % WIDTH for own in parts]]

    model.listener = Words()
    try:
        vectors = embed(model, [item(audio(35)), item(audio(4))])
    finally:
        model.listener = None
    assert torch.equal(vectors, torch.eye(WIDTH)[[3, 4]])


UNMOVED = ("key.bias", "audio.pool.content.bias")
"""A softmax does not see what is added to all of its scores alike, so that these have no effect."""
BESIDE = ("audio.ctc.", "audio.pool.speech.")
"""What only the listener uses."""


def test_gradients_reach_every_parameter(model: ChiasmMini) -> None:
    model.zero_grad(set_to_none=True)
    goal = torch.randn(11, WIDTH, generator=torch.Generator().manual_seed(1))
    (model.embed(several()) * goal).sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    missed = {name for name, _ in model.named_parameters()} - reached
    assert {name for name in missed if not name.endswith(UNMOVED)} == {
        name for name, _ in model.named_parameters() if name.startswith(BESIDE)
    }
    heard = model.audio(torch.from_numpy(mel(40))[None], torch.tensor([40]))
    (heard.units.square().sum() + heard.speech.sum()).backward()
    for name, parameter in model.named_parameters():
        if name.startswith(BESIDE):
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name
    model.zero_grad(set_to_none=True)


def test_weights_saved_and_loaded_give_the_same_vectors(model: ChiasmMini) -> None:
    other = ChiasmMini(MiniConfig.from_dict(model.config.to_dict())).eval()
    assert not torch.allclose(embed(other, several()), embed(model, several()))
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(embed(other, several()), embed(model, several()))


@pytest.mark.parametrize("config", [MiniConfig(), tiny()])
def test_a_config_survives_json(config: MiniConfig) -> None:
    assert MiniConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_a_config_leaves_out_has_its_default() -> None:
    assert MiniConfig.from_dict({}) == MiniConfig()
    assert MiniConfig.from_dict({"trunk": {}, "motion": {"depth": 3}}).motion == MotionConfig(depth=3)
    assert MiniConfig.from_dict({"trunk": {}}).trunk.classes == 0


@pytest.mark.parametrize(
    "data",
    [
        {"smell": {}},
        {"text": {"depht": 3}},
        {"text": 3},
        {"text": ["width"]},
        {"text": {"width": "384"}},
        {"text": {"depth": True}},
        {"text": {"width": 400}},
        {"trunk": {"stages": [{"repeats": 1}]}},
        {"trunk": {"stages": 7}},
        [],
        None,
    ],
)
def test_configs_that_cannot_be_are_refused(data: Any) -> None:
    with pytest.raises(CheckpointError, match="expected a chiasm-mini config") as caught:
        MiniConfig.from_dict(data)
    assert "配置" in caught.value.zh


def test_towers_that_do_not_meet_are_refused() -> None:
    with pytest.raises(ValueError, match=r"text\.width = 384.*fusion\.width"):
        MiniConfig(fusion=FusionConfig(width=192))
