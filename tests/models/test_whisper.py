"""Whisper: the reference's frames, states, logits and tokens."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from whisper_folders import POSITIONS, WINDOW_SECONDS, make, sound

from chiasm.checkpoints.whisper import load_whisper
from chiasm.errors import InvalidInput
from chiasm.modality import Audio
from chiasm.models.whisper.decoding import detect_language, generate, transcribe
from chiasm.models.whisper.frontend import log_mel, samples_of
from chiasm.models.whisper.model import sinusoids
from chiasm.models.whisper.tokens import SpeechTokens, apply_timestamp_rules, split_by_time
from chiasm.nn.packed import PackedLinear, pack
from chiasm.nn.recorder import record

WINDOW = 100 * WINDOW_SECONDS


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Any, ...]]:
    """Ours with its tokenizer and tokens, and theirs with the same weights."""
    made: dict[str, tuple[Path, Any]] = {}

    def get(**options: Any) -> tuple[Any, ...]:
        key = repr(sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("whisper")
            made[key] = (folder, make(folder, **options))
        folder, theirs = made[key]
        return *load_whisper(folder), theirs.float()

    return get


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The greatest, as a share of max(1, |theirs|)."""
    assert ours.shape == theirs.shape
    return float(((ours - theirs).abs() / theirs.abs().clamp(min=1)).max())


def frames(count: int = 2, mels: int = 80, precision: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, WINDOW, mels, generator=generator).to(precision)


SOUNDS = {
    "silence": np.zeros(480_000, np.float32),
    "noise": np.random.default_rng(2).uniform(-1, 1, 480_000).astype(np.float32),
    "soft": 1e-4 * sound(30).samples,
    "one frame": sound(0.01).samples,
    "short": sound(3.21).samples,
    "exact": sound(30).samples,
    "longer": sound(41.7).samples,
}


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("name", SOUNDS)
def test_frames_are_the_reference_s(name: str, mels: int) -> None:
    from transformers import WhisperFeatureExtractor

    samples = SOUNDS[name]
    extract = WhisperFeatureExtractor(feature_size=mels)
    theirs = extract(samples, sampling_rate=16_000, return_tensors="pt").input_features[0].T
    window = torch.from_numpy(np.pad(samples, (0, max(0, 480_000 - len(samples))))[:480_000])
    ours = log_mel(window, mels)
    assert ours.shape == theirs.shape == (3000, mels)
    assert float((ours - theirs).abs().max()) < 1e-4
    assert torch.equal(log_mel(window.double(), mels), ours), "in single precision always"


def test_frames_of_whole_sounds_and_of_other_rates() -> None:
    from transformers import WhisperFeatureExtractor

    audio = sound(65)
    theirs = WhisperFeatureExtractor()(
        audio.samples, sampling_rate=16_000, return_tensors="pt", truncation=False, padding="longest"
    ).input_features[0].T  # fmt: skip
    assert float((log_mel(samples_of(audio)) - theirs).abs().max()) < 1e-4
    at_44100 = sound(2, rate=44_100)
    assert len(samples_of(at_44100)) == 32_000


def test_sounds_that_are_none_are_refused() -> None:
    for samples in (np.zeros(0, np.float32), np.array([0.0, np.nan], np.float32)):
        with pytest.raises(InvalidInput):
            Audio(samples, 16_000)
    with pytest.raises(ValueError, match="more than 200 samples"):
        log_mel(torch.zeros(200))
    with pytest.raises(ValueError, match="NaN"):
        log_mel(torch.full((1000,), torch.nan))


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("mels", [80, 128])
@torch.no_grad()
def test_states_and_logits_are_the_reference_s(
    pair: Callable[..., Any], mels: int, precision: torch.dtype, tolerance: float
) -> None:
    ours, _, _, theirs = pair(mels=mels)
    ours, theirs = ours.to(precision), theirs.to(precision)
    mel, ids = frames(3, mels, precision), torch.randint(3, 290, (3, 17))
    states = theirs.model.encoder(mel.transpose(1, 2)).last_hidden_state
    assert error(ours.encode(mel), states) < tolerance
    expected = theirs(input_features=mel.transpose(1, 2), decoder_input_ids=ids).logits
    assert error(ours(mel, ids), expected) < tolerance

    mask = torch.arange(17) >= torch.tensor([0, 4, 11])[:, None]
    expected = theirs(
        input_features=mel.transpose(1, 2),
        decoder_input_ids=ids,
        decoder_attention_mask=mask.long(),
        decoder_position_ids=(mask.long().cumsum(1) - 1).clamp(min=0),
    ).logits
    assert error(ours(mel, ids, mask)[mask], expected[mask]) < tolerance


@torch.no_grad()
def test_company_and_padding_change_nothing(pair: Callable[..., Any]) -> None:
    ours, _, _, _ = pair()
    mel, ids = frames(), torch.randint(3, 290, (2, 9))
    mask = torch.arange(9) >= torch.tensor([0, 5])[:, None]
    together = ours(mel, ids, mask)
    torch.testing.assert_close(ours(mel[1:], ids[1:, 5:])[0], together[1, 5:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cache_changes_nothing(pair: Callable[..., Any]) -> None:
    ours, _, _, _ = pair()
    states, ids = ours.encode(frames()), torch.randint(3, 290, (2, 20))
    mask = torch.arange(20) >= torch.tensor([0, 5])[:, None]
    decoder = ours.decoder
    whole = decoder(ids, states, mask)
    cache = decoder.new_cache(20)
    steps = [decoder(ids[:, :9], states, mask[:, :9], cache)]
    for n in range(9, 20):  # the states are only read at first
        steps.append(decoder(ids[:, n : n + 1], torch.full_like(states, torch.nan), mask[:, : n + 1], cache))
    torch.testing.assert_close(torch.cat(steps, dim=1)[mask], whole[mask], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="at most 20"):
        decoder(ids[:, :1], states, None, cache)
    with pytest.raises(ValueError, match=f"at most {POSITIONS}"):
        decoder(torch.zeros(1, POSITIONS + 1, dtype=torch.long), states[:1])
    with pytest.raises(ValueError, match=f"{WINDOW} frames of 80 bands"):
        ours.encode(frames()[:, 1:])


@pytest.mark.parametrize("english", [False, True])
@pytest.mark.parametrize("seed", [8, 10, 11])
def test_the_same_tokens_come_out(pair: Callable[..., Any], english: bool, seed: int) -> None:
    ours, _, tokens, theirs = pair(english=english, seed=seed)
    mel = frames()
    wishes = {} if english else {"language": "zh", "task": "transcribe"}
    expected = theirs.generate(  # one window, whatever times these random ones say
        mel.transpose(1, 2), max_new_tokens=20, force_unique_generate_call=True, **wishes
    )
    prefix = tokens.prefix(wishes.get("language"), "transcribe", False)
    assert expected[:, : len(prefix)].tolist() == [prefix, prefix]
    with torch.no_grad():
        found = generate(ours, ours.encode(mel), prefix, tokens, most=20)
    assert [len(set(row)) > 3 for row in found] == [True, True], "they change from step to step"
    for ours_t, theirs_t in zip(found, expected[:, len(prefix) :].tolist(), strict=True):
        assert ours_t == [token for token in theirs_t if token != tokens.end]
        assert not set(ours_t) & set(tokens.suppressed)
    unlimited = generate(ours, ours.encode(mel), prefix, tokens)
    assert all(len(row) <= POSITIONS - len(prefix) for row in unlimited)


def test_suppression_and_the_end_matter(pair: Callable[..., Any]) -> None:
    ours, _, tokens, _ = pair()
    states, prefix = ours.encode(frames(1)), tokens.prefix("en", "transcribe", False)
    (row,) = generate(ours, states, prefix, tokens, most=12)
    without_first = dataclasses.replace(tokens, first_suppressed=[*tokens.first_suppressed, row[0]])
    assert generate(ours, states, prefix, without_first, most=1)[0] != row[:1]
    never = dataclasses.replace(tokens, suppressed=[*tokens.suppressed, row[3]])
    (other,) = generate(ours, states, prefix, never, most=12)
    at = row.index(row[3])
    assert other[:at] == row[:at]
    assert row[3] not in other
    sooner = dataclasses.replace(tokens, end=row[3])
    assert generate(ours, states, prefix, sooner, most=12)[0] == row[:at]


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_languages_are_those_that_the_reference_hears(pair: Callable[..., Any], seed: int) -> None:
    ours, _, tokens, theirs = pair(seed=seed)
    mel = frames(6)
    expected = theirs.detect_language(mel.transpose(1, 2)).tolist()
    with torch.no_grad():
        found = detect_language(ours, ours.encode(mel), tokens)
    assert [tokens.languages[name] for name in found] == expected


@pytest.mark.parametrize(("seed", "seconds"), [(7, 2), (8, 5), (9, 7.3), (10, 7.3), (11, 11)])
def test_times_and_windows_are_the_reference_s(pair: Callable[..., Any], seed: int, seconds: float) -> None:
    from transformers import WhisperFeatureExtractor

    ours, tokenizer, tokens, theirs = pair(seed=seed)
    audio = sound(seconds, seed)
    mel = WhisperFeatureExtractor(chunk_length=WINDOW_SECONDS)(
        audio.samples, sampling_rate=16_000, return_tensors="pt", truncation=False, padding="longest"
    ).input_features  # fmt: skip
    expected = theirs.generate(
        mel, language="de", task="transcribe", return_timestamps=True, return_segments=True, max_new_tokens=20
    )["segments"][0]
    expected = [segment for segment in expected if segment["start"] < seconds - 1e-6]
    found = transcribe(ours, tokenizer, tokens, audio, language="de", timestamps=True, most=20).segments
    assert len(found) == len(expected)
    zero = tokens.no_timestamps + 1
    for segment, theirs_own in zip(found, expected, strict=True):
        assert segment.start == pytest.approx(float(theirs_own["start"]), abs=1e-6)
        assert segment.end == pytest.approx(min(float(theirs_own["end"]), seconds), abs=1e-6)
        theirs_t = theirs_own["tokens"].tolist()
        # theirs keep the beginning of what is heard again
        assert list(segment.tokens) in (theirs_t, theirs_t[:-1])
        words = [token for token in segment.tokens if token < zero]
        assert segment.text == tokenizer.decode(words)


def test_windows_without_times(pair: Callable[..., Any]) -> None:
    ours, tokenizer, tokens, _ = pair()
    audio = sound(5)
    found = transcribe(ours, tokenizer, tokens, audio, most=12)
    assert [(s.start, s.end) for s in found.segments] == [(0, 2), (2, 4), (4, 5)]
    assert found.language in tokens.languages
    assert found.text == "".join(segment.text for segment in found.segments).strip()
    assert all(segment.language == found.language for segment in found.segments)
    first = transcribe(ours, tokenizer, tokens, sound(0.004), most=3)
    assert [(s.start, s.end) for s in first.segments] == [(0, 0.004)]


def test_what_a_model_does_not_know_is_refused(pair: Callable[..., Any]) -> None:
    ours, tokenizer, tokens, _ = pair()
    for wishes, named in (({"language": "fr"}, "language"), ({"language": "en", "task": "sing"}, "task")):
        with pytest.raises(InvalidInput) as caught:
            transcribe(ours, tokenizer, tokens, sound(1), **wishes)
        assert caught.value.param == named
    english, tokenizer, tokens, _ = pair(english=True)
    assert transcribe(english, tokenizer, tokens, sound(1), most=3).language is None
    for wishes in ({"language": "zh"}, {"task": "translate"}):
        with pytest.raises(InvalidInput, match="English"):
            transcribe(english, tokenizer, tokens, sound(1), **wishes)


TOKENS = SpeechTokens(start=11, end=10, no_timestamps=12, languages={}, tasks={}, latest_first=3)
"""Text below 10, times from 13 on."""


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ([], {13, 14, 15, 16}),
        ([13], set(range(12))),
        ([13, 4], {*range(12), *range(14, 20)}),
        ([13, 4, 15], {10, 11, *range(15, 20)}),
        ([13, 4, 15, 15], set(range(12))),
        ([13, 4, 15, 15, 2], {*range(12), *range(16, 20)}),
    ],
)
def test_times_come_in_order_and_around_texts(said: list[int], allowed: set[int]) -> None:
    logits = torch.zeros(20)
    logits[:13] = 5.0  # else the times together were likelier
    apply_timestamp_rules(logits, said, TOKENS)
    assert {n for n in range(20) if logits[n] > -torch.inf} == allowed


def test_a_time_comes_where_all_together_are_likelier() -> None:
    logits = torch.zeros(20)
    apply_timestamp_rules(logits, [13, 4], TOKENS)
    assert {n for n in range(20) if logits[n] > -torch.inf} == set(range(14, 20))


@pytest.mark.parametrize(
    ("said", "pieces", "step"),
    [
        ([], [], 200),
        ([1, 2], [(0, 100, [1, 2])], 200),
        ([50, 1, 60], [(0, 10, [50, 1, 60])], 200),
        ([50, 1, 60, 60, 2], [(0, 10, [50, 1, 60])], 20),
        ([50, 1, 60, 60, 2, 70], [(0, 10, [50, 1, 60]), (10, 20, [60, 2, 70])], 200),
        ([52, 1, 60, 62], [(2, 10, [52, 1, 60])], 20),
    ],
)
def test_windows_part_between_two_times(said: list[int], pieces: list, step: int) -> None:
    assert split_by_time(said, 50, 200) == (pieces, step)


@torch.no_grad()
def test_attention_is_recorded_and_changes_nothing(pair: Callable[..., Any]) -> None:
    ours, _, _, _ = pair()
    mel, ids = frames(1), torch.randint(3, 290, (1, 7))
    before = ours(mel, ids)
    with record(ours) as seen:
        after = ours(mel, ids)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    half = WINDOW // 2
    assert [(name, tuple(alpha.shape)) for name, alpha in seen.weights] == [
        *((f"encoder.blocks.{n}.attention", (1, 4, half, half)) for n in range(2)),
        *(
            (f"decoder.blocks.{n}.{name}", (1, 2, 7, keys))
            for n in range(3)
            for name, keys in (("attention", 7), ("cross", half))
        ),
    ]
    for name, alpha in seen.weights:
        torch.testing.assert_close(alpha.sum(-1), torch.ones(alpha.shape[:-1]))
        if name.startswith("decoder") and name.endswith("attention"):
            assert float(alpha.triu(1).abs().max()) == 0


def test_a_packed_whisper_gives_the_same(pair: Callable[..., Any]) -> None:
    ours, _, tokens, _ = pair(width=64)
    with torch.no_grad():
        mel, ids = frames(), torch.randint(3, 290, (2, 7))
        before = ours(mel, ids)
    prefix = tokens.prefix("en", "transcribe", False)
    said = generate(ours, ours.encode(mel), prefix, tokens, most=12)
    pack(ours)
    pack(ours)
    # encoder: 4 maps and all in one; decoder: twice that; feed-forward layers are too narrow here
    assert sum(isinstance(module, PackedLinear) for module in ours.modules()) == 2 * 5 + 3 * 10 + 1
    with torch.no_grad():
        torch.testing.assert_close(ours(mel, ids), before, atol=1e-4, rtol=1e-4)
    assert generate(ours, ours.encode(mel), prefix, tokens, most=12) == said


def test_gradients_reach_every_parameter(pair: Callable[..., Any]) -> None:
    ours, _, _, _ = pair()
    for name, parameter in ours.named_parameters():
        parameter.requires_grad_(name != "position")
    ours(frames(), torch.randint(3, 290, (2, 7))).square().mean().backward()
    for name, parameter in ours.named_parameters():
        if name != "position":
            assert parameter.grad is not None, name
            # a key's bias adds the same to all scores of a query
            assert name.endswith("key.bias") or float(parameter.grad.abs().max()) > 0, name


def test_positions_are_the_reference_s(pair: Callable[..., Any]) -> None:
    ours, _, _, theirs = pair()
    assert torch.equal(ours.position, theirs.model.encoder.embed_positions.weight)
    torch.testing.assert_close(sinusoids(100, 32), ours.position.data, atol=1e-5, rtol=0)
