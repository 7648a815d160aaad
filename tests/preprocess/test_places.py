"""What the positions of a sequence are."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from chiasm.models.clap.config import SwinConfig
from chiasm.models.clap.swin import AudioTower
from chiasm.models.vit.config import VitConfig
from chiasm.models.vit.model import Vit
from chiasm.models.whisper.config import WhisperConfig
from chiasm.models.whisper.model import Whisper
from chiasm.nn.recorder import record
from chiasm.preprocess import ImagePreprocess, TextPreprocess
from chiasm.preprocess.image import ImagePreprocessor
from chiasm.preprocess.places import Place, frame_places, patch_places, stretch_places
from chiasm.preprocess.text import TextPreprocessor


def test_patches_tile_the_picture() -> None:
    places = patch_places(2, 3, class_token=True)
    assert places[0] == Place("class", 0)
    assert places[4] == Place("patch", 3, (0.0, 0.5, 1 / 3, 1.0))
    assert sum((b[2] - b[0]) * (b[3] - b[1]) for b in (p.box for p in places) if b) == pytest.approx(1)
    assert frame_places(4, 2.0)[1] == Place("frame", 1, span=(0.5, 1.0))
    assert stretch_places(2, 3.0)[1].span == (1.5, 3.0)


@torch.no_grad()
def test_recorded_attention_has_a_place_for_each_position() -> None:
    vit = Vit(VitConfig(side=32, patch=8, width=24, depth=1, heads=2, hidden=30)).eval()
    pixels = torch.zeros((1, 32, 48, 3), dtype=torch.uint8)
    with record(vit) as seen:
        vit(pixels)
    [(_, alpha)] = seen.weights
    assert alpha.shape[-1] == len(vit.places(32, 48)) == 1 + 4 * 6
    assert len(vit.places()) == 17
    shape = {
        "decoder_depth": 1,
        "decoder_heads": 2,
        "decoder_hidden": 30,
        "encoder_depth": 1,
        "encoder_heads": 2,
    }
    whisper = Whisper(
        WhisperConfig(vocabulary=9, frames=10, positions=5, width=24, encoder_hidden=30, **shape)
    )
    with record(whisper) as seen:
        whisper.encode(torch.zeros(1, 20, 80))
    assert seen.weights[0][1].shape[-1] == len(whisper.places())
    assert whisper.places()[3].span == pytest.approx((0.06, 0.08))


def test_tokens_know_their_characters() -> None:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        special_tokens=["[CLS]", "[SEP]"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["red apple red apple"], trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    prepare = TextPreprocessor(TextPreprocess(max_tokens=6), made.to_str().encode())
    text = "red apple 红"
    places, (ids, _) = prepare.places(text), prepare(text)
    assert len(places) == len(ids) == 6
    assert places[0] == Place("token", 0)
    assert places[-1].span is None
    spans = [place.span for place in places[1:-1] if place.span]
    assert "".join(text[int(a) : int(b)] for a, b in spans[:2]) == "red apple"
    assert {text[int(a) : int(b)].strip() for a, b in spans[3:]} == {"红"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ImagePreprocess(side=32, fit="squash", trim=False), (0.25, 0.25, 0.5, 0.5)),
        (ImagePreprocess(side=32, fit="crop", trim=False), (0.375, 0.25, 0.5, 0.5)),
        (ImagePreprocess(side=32, fit="pad", trim=False), (0.25, 0.0, 0.5, 0.5)),
        (ImagePreprocess(side=32, fit="shortest", trim=False), (0.375, 0.25, 0.5, 0.5)),
        (ImagePreprocess(side=32, fit="shortest", resize=64, trim=False), (0.4375, 0.375, 0.5, 0.5)),
    ],
)
def test_boxes_go_back_to_the_picture(config: ImagePreprocess, expected: tuple[float, ...]) -> None:
    prepare = ImagePreprocessor(config)
    pixels = np.zeros((100, 200, 3), np.uint8)
    box = prepare.box_in_picture((0.25, 0.25, 0.5, 0.5), pixels)
    assert box == pytest.approx(expected)
    # a bright patch there is a bright patch here
    left, top, right, bottom = (round(s * n) for s, n in zip(box, (200, 100, 200, 100), strict=True))
    pixels[top:bottom, left:right] = 255
    seen = prepare(pixels)[..., 0] / 255
    assert seen[10:15, 10:15].mean() > 0.9
    assert seen[18:].mean() < 0.2 or config.fit == "pad"


def test_boxes_go_back_to_where_a_trimmed_drawing_was() -> None:
    pixels = np.full((100, 200, 3), 255, np.uint8)
    pixels[60:80, 150:190] = 0
    prepare = ImagePreprocessor(ImagePreprocess(side=40, fit="pad", trim=True))
    dark = prepare(pixels)[..., 0] < 128
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    seen = (columns[0] / 40, rows[0] / 40, (columns[-1] + 1) / 40, (rows[-1] + 1) / 40)
    assert prepare.box_in_picture(seen, pixels) == pytest.approx((0.75, 0.6, 0.95, 0.8), abs=0.02)
    left, top, right, bottom = prepare.shown(pixels)
    assert (right - left) * 200 == pytest.approx((bottom - top) * 100)
    assert left > 0.7
    assert top * 100 == pytest.approx(48, abs=1)


def test_windows_of_sound_know_their_seconds() -> None:
    config = SwinConfig(mels=8, side=32, patch=2, width=8, depths=(2, 1), heads=(2, 4), window=4)
    tower = AudioTower(config).eval()
    with record(tower) as seen, torch.no_grad():
        tower(torch.zeros(1, config.frames, 8))
    blocks = ((0, False), (0, True), (1, False))
    for (_, alpha), (stage, shifted) in zip(seen.weights[:-1], blocks, strict=True):
        places = tower.places(stage, 12.8, shifted=shifted)
        assert (len(places), len(places[0])) == (alpha.shape[0], alpha.shape[-1])
        numbers = sorted(place.number for window in places for place in window)
        assert numbers == list(range((16 >> stage) ** 2))
    first = tower.places(0, 12.8)[0]
    assert first[0].span == pytest.approx((0, 0.2))
    assert first[1].span == pytest.approx((0.2, 0.4))
    # below the first eight bands, four patches high, the next stretch begins
    assert tower.places(0, 12.8)[4][0].span == pytest.approx((3.2, 3.4))
