"""ViLT: the reference's pixels, states and answers, from folders in both layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image
from published_folders import trained_tokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor

from chiasm.checkpoints import Loaded, load
from chiasm.checkpoints.vilt import image_numbers
from chiasm.errors import CheckpointError, InvalidInput
from chiasm.modality import Image as Picture
from chiasm.modality import Item, Text
from chiasm.preprocess.image import ImagePreprocessor
from chiasm.preprocess.prepared import PreparedPart
from chiasm.preprocess.preprocessor import Preprocessor

SMALL = {
    "vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 52, "image_size": 48, "patch_size": 8, "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
}  # fmt: skip
NUMBERS = {
    "do_resize": True, "size": {"shortest_edge": 40}, "size_divisor": 8, "resample": 3, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5], "do_pad": True, "image_processor_type": "ViltImageProcessor",
}  # fmt: skip
ANSWERS = ("yes", "no", "two", "red", "猫")
HEADS = {
    "plain": t.ViltModel,
    "words": t.ViltForMaskedLM,
    "answers": t.ViltForQuestionAnswering,
    "ranking": t.ViltForImageAndTextRetrieval,
    "verdicts": t.ViltForImagesAndTextClassification,
}


def make(kind: str, folder: Path, **changes: object) -> t.PreTrainedModel:
    torch.manual_seed(11)
    own: dict[str, object] = {}
    if kind == "answers":
        own["id2label"] = dict(enumerate(ANSWERS))
    if kind == "verdicts":
        own |= {"modality_type_vocab_size": 3, "num_images": 2, "id2label": {0: "False", 1: "True"}}
    model = HEADS[kind](t.ViltConfig(**{**SMALL, **own, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    trained_tokenizer("[CLS]", "[SEP]").save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps(NUMBERS))
    return model


def loaded(folder: Path, precision: torch.dtype = torch.float32) -> Loaded:
    found = load(folder)
    found.model.to(precision)
    return found


def given(sizes: list[tuple[int, int]], lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask of texts; uint8 pictures in the upper left corner of one tensor."""
    g = torch.Generator().manual_seed(4)
    ids = torch.randint(5, 300, (len(lengths), max(lengths)), generator=g)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    height, width = (max(side) for side in zip(*sizes, strict=True))
    pixels = torch.zeros(len(sizes), height, width, 3, dtype=torch.uint8)
    for n, (h, w) in enumerate(sizes):
        pixels[n, :h, :w] = torch.randint(0, 256, (h, w, 3), generator=g).to(torch.uint8)
    return ids, mask, pixels


def reference_pixels(
    pixels: Tensor, sizes: list[tuple[int, int]], precision: torch.dtype
) -> dict[str, Tensor]:
    mask = torch.zeros(pixels.shape[:3], dtype=torch.long)
    for n, (h, w) in enumerate(sizes):
        mask[n, :h, :w] = 1
    values = (pixels.to(precision) / 255 - 0.5) / 0.5 * mask[..., None]
    return {"pixel_values": values.permute(0, 3, 1, 2), "pixel_mask": mask}


SIZES = [
    [(48, 48)] * 3,  # the size it was trained with
    [(40, 64)] * 3,
    [(40, 64), (64, 40), (24, 24)],  # each has a grid of its own
    [(8, 8), (16, 8), (8, 40)],
]


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("sizes", SIZES)
@torch.no_grad()
def test_states_are_the_references(
    sizes: list[tuple[int, int]], precision: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    theirs = make("plain", tmp_path).to(precision)
    ours = loaded(tmp_path, precision).model.vilt
    for lengths in ([9, 4, 1], [24, 24, 24]):
        ids, mask, pixels = given(sizes, lengths)
        expected = theirs(
            input_ids=ids, attention_mask=mask.long(), **reference_pixels(pixels, sizes, precision)
        )
        states = ours(ids, pixels, mask, sizes)
        width = ids.shape[1]
        both = expected.last_hidden_state[:, :width][mask]
        torch.testing.assert_close(states.text_btd[mask], both, atol=tolerance, rtol=tolerance)
        pooled = ours.pooled(states)
        torch.testing.assert_close(pooled, expected.pooler_output, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(ours.vector(ids, pixels, mask, sizes), pooled)
        # the reference shuffles patches: the same states, in any order
        for n, (h, w) in enumerate(sizes):
            count = h // 8 * (w // 8) + 1
            own = states.picture_bpd[n][states.mask_bp[n]]
            assert len(own) == count
            every = (own[:, None] - expected.last_hidden_state[n, width:]).abs().amax(dim=2)
            assert float(every.min(dim=1).values.max()) < 5 * tolerance


@pytest.mark.parametrize("kind", ["words", "answers", "ranking"])
@torch.no_grad()
def test_heads_are_the_references(kind: str, tmp_path: Path) -> None:
    theirs = make(kind, tmp_path).double()
    ours = loaded(tmp_path, torch.float64).model
    ids, mask, pixels = given(SIZES[2], [9, 4, 1])
    told = reference_pixels(pixels, SIZES[2], torch.float64)
    expected = theirs(input_ids=ids, attention_mask=mask.long(), **told).logits
    states = ours.vilt(ids, pixels, mask, SIZES[2])
    pooled = ours.vilt.pooled(states)
    if kind == "words":
        got, expected = ours.word_logits(states.text_btd)[mask], expected[:, : ids.shape[1]][mask]
    elif kind == "answers":
        got = ours.answer_logits(pooled)
    else:
        got, expected = ours.fit(pooled), expected[:, 0]
    torch.testing.assert_close(got, expected, atol=1e-9, rtol=1e-9)


@torch.no_grad()
def test_verdicts_on_two_pictures_are_the_references(tmp_path: Path) -> None:
    theirs = make("verdicts", tmp_path).double()
    ours = loaded(tmp_path, torch.float64).model
    ids, _, pixels = given(SIZES[1][:2], [7, 7])
    told = reference_pixels(pixels, SIZES[1][:2], torch.float64)
    stacked = {name: torch.stack([value, value.flip(0)], dim=1) for name, value in told.items()}
    expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), **stacked).logits
    both = [ours.vilt.vector(ids, p, picture=n) for n, p in ((1, pixels), (2, pixels.flip(0)))]
    torch.testing.assert_close(ours.verdict_logits(torch.stack(both, 1)), expected, atol=1e-9, rtol=1e-9)


def papers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The Hugging Face layout in the names of the paper's own code, maps packed."""
    found: dict[str, Tensor] = {}
    packed: dict[str, dict[str, Tensor]] = {}
    inner = {
        "attention.output.dense": "attn.proj", "layernorm_before": "norm1", "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2",
    }  # fmt: skip
    for full, tensor in state.items():
        name = full.removeprefix("vilt.")
        if name.startswith("encoder.layer."):
            _, _, number, rest = name.split(".", 3)
            block, part = f"transformer.blocks.{number}.", rest.rpartition(".")[2]
            if rest.startswith("attention.attention."):
                packed.setdefault(f"{block}attn.qkv.{part}", {})[rest.split(".")[2]] = tensor
            else:
                found[f"{block}{inner[rest.rpartition('.')[0]]}.{part}"] = tensor
            continue
        for theirs, papers in (
            ("embeddings.text_embeddings.", "text_embeddings."),
            ("embeddings.token_type_embeddings.", "token_type_embeddings."),
            ("embeddings.cls_token", "transformer.cls_token"),
            ("embeddings.position_embeddings", "transformer.pos_embed"),
            ("embeddings.patch_embeddings.projection.", "transformer.patch_embed.proj."),
            ("layernorm.", "transformer.norm."),
            ("classifier.", "vqa_classifier."),
        ):
            if name.startswith(theirs):
                name = papers + name.removeprefix(theirs)
                break
        found[name] = tensor
    for name, parts in packed.items():
        found[name] = torch.cat([parts[part] for part in ("query", "key", "value")])
    return found


@torch.no_grad()
def test_the_papers_own_names_are_read(tmp_path: Path) -> None:
    make("answers", tmp_path)
    ids, mask, pixels = given(SIZES[2], [9, 4, 1])
    before = load(tmp_path).model
    state = papers_names(load_file(tmp_path / "model.safetensors"))
    state["itm_score.fc.weight"] = torch.randn(2, 32)
    state["itm_score.fc.bias"] = torch.randn(2)
    save_file({n: v.contiguous() for n, v in state.items()}, tmp_path / "model.safetensors")
    # the trunk of the paper's code has another epsilon than its texts
    change(tmp_path, layer_norm_eps=1e-12)
    after = load(tmp_path)
    assert after.model.config.vision.epsilon == 1e-12
    assert after.description.capabilities == ("match", "answer")
    pooled = [model.vilt.vector(ids, pixels, mask, SIZES[2]) for model in (before, after.model)]
    torch.testing.assert_close(pooled[0], pooled[1])
    torch.testing.assert_close(before.answer_logits(pooled[0]), after.model.answer_logits(pooled[0]))
    probability = after.model.fit(pooled[0]).sigmoid()
    logits = pooled[0] @ state["itm_score.fc.weight"].T + state["itm_score.fc.bias"]
    torch.testing.assert_close(probability, logits.softmax(dim=-1)[:, 1])


def test_pixels_are_the_references(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(NUMBERS))
    ours = ImagePreprocessor(image_numbers(tmp_path).preprocess)
    reference = t.ViltImageProcessorPil(**{k: v for k, v in NUMBERS.items() if k != "image_processor_type"})
    rng = np.random.default_rng(2)
    for width, height in ((50, 71), (640, 480), (41, 39), (40, 40), (300, 35), (1, 9), (7, 700), (1000, 90)):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        got = ours(pixels)
        if max(width, height) > 8 * min(width, height):  # the reference leaves nothing of such a strip
            assert min(got.shape[:2]) == 8
            continue
        told = reference(Image.fromarray(pixels), return_tensors="np")["pixel_values"]
        expected = (np.asarray(told)[0].transpose(1, 2, 0) * 0.5 + 0.5) * 255
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= 1.001


def prepared(loaded: Loaded, pictures: int, texts: list[str]) -> tuple[list, list]:
    prepare = Preprocessor(loaded.description).prepare
    rng = np.random.default_rng(6)
    sides = [(50 + 17 * n, 90 - 9 * n) for n in range(pictures)]
    images = [
        prepare(Item((Picture(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)),))).parts[0] for h, w in sides
    ]
    words = [prepare(Item((Text(text),))).parts[0] for text in texts]
    return images, words


def test_pairs_are_answered_in_their_order_whatever_else_is_in_the_batch(tmp_path: Path) -> None:
    make("answers", tmp_path)
    found = load(tmp_path)
    pictures, texts = prepared(found, 4, ["a red apple", "猫", "the blue car on the table", "a"])
    together = found.model.answer(pictures, texts, top_k=9)
    alone = [found.model.answer([p], [w], top_k=9)[0] for p, w in zip(pictures, texts, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert [a.text for a in one] == [a.text for a in other]
        np.testing.assert_allclose([a.probability for a in one], [a.probability for a in other], atol=1e-5)
    assert {answer.text for answer in together[0]} == set(ANSWERS)
    assert len({(*(a.text for a in row), row[0].probability) for row in together}) > 1


def test_scores_and_verdicts_of_prepared_parts(tmp_path: Path) -> None:
    make("ranking", tmp_path / "r")
    found = load(tmp_path / "r")
    assert found.description.capabilities == ("match",)
    pictures, texts = prepared(found, 3, ["a red apple", "猫", "the blue car"])
    scores = found.model.score(pictures, texts)
    swapped = found.model.score(pictures[::-1], texts[::-1])
    torch.testing.assert_close(scores, swapped.flip(0), atol=1e-5, rtol=1e-5)
    make("verdicts", tmp_path / "v")
    judge = load(tmp_path / "v").model
    probabilities = judge.compare([pictures, pictures[::-1]], texts)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
    with pytest.raises(InvalidInput, match="expected 2 pictures for each text, got 1"):
        judge.compare([pictures], texts)
    with pytest.raises(InvalidInput, match="expected 3 pictures, got 2"):
        found.model.score(pictures[:2], texts)
    with pytest.raises(InvalidInput, match="a head for answers"):
        found.model.answer(pictures, texts)


def change(folder: Path, **values: object) -> None:
    manifest = json.loads((folder / "config.json").read_text())
    manifest.update(values)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"architectures": ["ViltForDancing"]}, "architectures"),
        ({"qkv_bias": False}, "qkv_bias"),
        ({"hidden_size": 30}, "config.json"),
        ({"max_image_length": 0}, "max_image_length"),
        ({"id2label": {"1": "one"}}, "id2label"),
        ({"surprise": 3}, "surprise"),
        ({"vocab_size": 200}, "vocab_size|tokenizer|vocabulary|token"),
    ],
)
def test_folders_that_make_no_sense_are_refused_by_name(
    values: dict[str, object], named: str, tmp_path: Path
) -> None:
    make("answers", tmp_path)
    change(tmp_path, **values)
    with pytest.raises(CheckpointError, match=named):
        load(tmp_path)


def test_tensors_that_are_missing_or_strange_are_named(tmp_path: Path) -> None:
    make("answers", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    lost = "vilt.encoder.layer.1.output.dense.bias"
    save_file({k: v for k, v in state.items() if k != lost}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"blocks\.1\.feed_forward\.contract\.bias"):
        load(tmp_path)
    save_file({**state, "vilt.spare": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="spare"):
        load(tmp_path)


@pytest.mark.parametrize(
    "numbers",
    [
        {"do_normalize": False},
        {"do_center_crop": True},
        {"resample": 9},
        {"size_divisor": 0},
        {"image_std": [0, 1, 1]},
    ],
)
def test_preparation_that_we_do_not_do_is_refused(numbers: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**NUMBERS, **numbers}))
    with pytest.raises(CheckpointError):
        image_numbers(tmp_path)


def test_a_part_is_what_the_preprocessor_made(tmp_path: Path) -> None:
    make("answers", tmp_path)
    pictures, texts = prepared(load(tmp_path), 1, ["a"])
    assert isinstance(pictures[0], PreparedPart)
    assert pictures[0].arrays["pixels"].shape[0] % 8 == 0
    assert texts[0].arrays["token_ids"].ndim == 1
