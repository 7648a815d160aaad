"""Items become the arrays that docs/architecture.md promises."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow

from chiasm.errors import CheckpointError, InvalidInput
from chiasm.modality import Audio, Image, Item, Modality, Text, Video, item_of
from chiasm.preprocess import (
    ImagePreprocess,
    ModelDescription,
    PreprocessConfig,
    Preprocessor,
    TextPreprocess,
)
from chiasm.preprocess.recognise import Transcript

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "apple", "猫"]


def tokenizer_json() -> bytes:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str().encode()


def describe(**changes) -> ModelDescription:
    values = {
        "name": "tiny",
        "revision": "r1",
        "dimensions": 8,
        "tokenizer": tokenizer_json(),
        "preprocess": PreprocessConfig(
            text=TextPreprocess(max_tokens=6), image=ImagePreprocess(side=32, trim=True)
        ),
    }
    return ModelDescription(**(values | changes))


class Hears:
    def hear(self, samples):
        assert samples.dtype == np.float32
        if not samples.any():
            return None
        return Transcript(("red apple", "apple"), (0.75, 0.25), 0.75)


def tone(seconds: float, rate: int = 16_000, amplitude: float = 0.5) -> Audio:
    t = np.arange(round(seconds * rate)) / rate
    return Audio((amplitude * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate)


def test_a_text_becomes_token_ids_between_the_special_tokens():
    part = Preprocessor(describe()).prepare(item_of(Text("a red apple"))).parts[0]
    assert part.arrays["token_ids"].tolist() == [2, 4, 5, 6, 3]
    assert part.arrays["token_ids"].dtype == np.int32
    assert part.truncated == 0


def test_a_text_longer_than_the_context_is_cut_and_says_by_how_much():
    part = Preprocessor(describe()).prepare(item_of(Text("a red apple a red apple a"))).parts[0]
    assert part.arrays["token_ids"].tolist() == [2, 4, 5, 6, 4, 3]
    assert part.truncated == 3


def test_an_empty_text_is_only_the_special_tokens():
    part = Preprocessor(describe()).prepare(item_of(Text(""))).parts[0]
    assert part.arrays["token_ids"].tolist() == [2, 3]


def test_a_lone_surrogate_is_refused_and_named():
    with pytest.raises(InvalidInput) as caught:
        Preprocessor(describe()).prepare(item_of(Text("a"), Text("red \ud800")))
    assert caught.value.param == "content[1]"


def test_a_picture_becomes_a_square():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    part = Preprocessor(describe()).prepare(item_of(Image(pixels))).parts[0]
    assert part.arrays["pixels"].shape == (32, 32, 3)
    assert part.arrays["pixels"].dtype == np.uint8
    assert part.cost == 1.0


def test_a_sound_becomes_a_spectrogram_with_what_was_heard_in_it():
    prepare = Preprocessor(describe(), Hears()).prepare
    part = prepare(item_of(tone(2.0, rate=44_100))).parts[0]
    assert part.arrays["log_mel"].shape == (1 + 32_000 // 200, 64)
    assert part.arrays["log_mel"].dtype == np.float32
    assert part.arrays["transcript_ids"].tolist() == [2, 5, 6, 3, 2, 6, 3]
    assert part.arrays["transcript_lengths"].tolist() == [4, 3]
    assert part.arrays["transcript_shares"].tolist() == [0.75, 0.25]
    assert part.arrays["transcript_confidence"].tolist() == [0.75]
    silent = prepare(item_of(Audio(np.zeros(8000, np.float32), 8000))).parts[0]
    assert set(silent.arrays) == {"log_mel"}
    assert np.isfinite(silent.arrays["log_mel"]).all()


def test_a_video_becomes_evenly_spaced_pictures_and_its_sound():
    frames = np.stack([np.full((20, 20, 3), 10 * i, np.uint8) for i in range(16)])
    part = Preprocessor(describe()).prepare(item_of(Video(frames, 8.0, tone(12.0)))).parts[0]
    assert part.arrays["pixels"].shape == (8, 32, 32, 3)
    assert part.arrays["pixels"][:, 0, 0, 0].tolist() == [10, 30, 50, 70, 90, 110, 130, 150]
    assert part.arrays["log_mel"].shape == (801, 64)
    assert part.truncated == 2
    silent = Preprocessor(describe()).prepare(item_of(Video(frames, 8.0))).parts[0]
    assert set(silent.arrays) == {"pixels"}


def test_a_short_clip_repeats_its_frames():
    frames = np.stack([np.full((32, 32, 3), 10 * i, np.uint8) for i in range(3)])
    part = Preprocessor(describe()).prepare(item_of(Video(frames, 8.0))).parts[0]
    assert part.arrays["pixels"][:, 0, 0, 0].tolist() == [0, 0, 0, 10, 10, 20, 20, 20]


def test_a_modality_that_the_model_does_not_take_is_refused():
    preprocessor = Preprocessor(describe(modalities=(Modality.TEXT,)))
    with pytest.raises(InvalidInput, match="tiny takes text; got audio"):
        preprocessor.prepare(item_of(tone(1.0)))


def test_cost_grows_with_content_and_adds_up():
    prepare = Preprocessor(describe()).prepare
    short, long = prepare(item_of(tone(1.0))), prepare(item_of(tone(4.0)))
    assert long.cost == pytest.approx(4 * short.cost)
    both = prepare(Item((tone(1.0), Text("red"))))
    assert both.cost == pytest.approx(short.cost + prepare(item_of(Text("red"))).cost)


def test_the_key_is_of_the_content_and_nothing_else():
    prepare = Preprocessor(describe()).prepare
    assert prepare(item_of(Text("red"))).key() == prepare(item_of(Text("  red"))).key()
    keys = {
        prepare(item_of(*parts)).key()
        for parts in [
            (Text("red"),),
            (Text("apple"),),
            (Text("red"), Text("apple")),
            (Text("apple"), Text("red")),
            (Text("red apple"),),
        ]
    }
    assert len(keys) == 5


def test_a_description_survives_the_wire():
    description = describe(
        metrics={"recall@1": {"en": 0.5}}, lexicon=b"\x00\xff", modalities=(Modality.TEXT,)
    )
    assert ModelDescription.from_bytes(description.to_bytes()) == description


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"hello", b"\x81\xa4name\x01"])
def test_bytes_that_are_no_description_are_refused(data):
    with pytest.raises(CheckpointError):
        ModelDescription.from_bytes(data)


def test_a_config_survives_json():
    config = PreprocessConfig(image=ImagePreprocess(side=64, fit="pad", background=(1, 2, 3)))
    assert PreprocessConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"colour": {}}, "PreprocessConfig.colour"),
        ({"image": {"sied": 3}}, "ImagePreprocess.sied"),
        ({"image": {"side": "192"}}, "ImagePreprocess.side"),
        ({"image": {"side": True}}, "ImagePreprocess.side"),
        ({"image": {"side": 1}}, "ImagePreprocess.side"),
        ({"image": {"fit": "stretch"}}, "ImagePreprocess.fit"),
        ({"image": {"background": [1, 2]}}, "ImagePreprocess.background"),
        ({"image": {"background": [1, 2, 256]}}, "ImagePreprocess.background"),
        ({"audio": {"hop": 0}}, "AudioPreprocess.hop"),
        ({"audio": {"fmax": float("nan")}}, "AudioPreprocess.fmax"),
        ({"text": 3}, "TextPreprocess"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_by_name(data, param):
    with pytest.raises(CheckpointError) as caught:
        PreprocessConfig.from_dict(data)
    assert caught.value.param == param


def test_a_broken_tokenizer_is_a_broken_checkpoint():
    with pytest.raises(CheckpointError):
        Preprocessor(describe(tokenizer=b"{}"))


def test_pillow_agrees_on_a_plain_resize():
    pixels = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    part = Preprocessor(describe()).prepare(item_of(Image(pixels))).parts[0]
    expected = Pillow.fromarray(pixels).resize((32, 32), Pillow.Resampling.BICUBIC)
    assert np.array_equal(part.arrays["pixels"], np.asarray(expected))
