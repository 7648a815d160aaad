"""METER: the numbers of the paper's own code, and of a naive reimplementation."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cross_modal import TEXT, VISION
from seeded import state
from torch import Tensor, nn

from chiasm.errors import CheckpointError, InvalidInput
from chiasm.models.bert.config import BertConfig
from chiasm.models.bert.model import Bert
from chiasm.models.meter.config import MeterConfig, MeterHeadsConfig
from chiasm.models.meter.heads import AnswerDecoder, HeadedMeter
from chiasm.models.meter.import_weights import convert
from chiasm.models.meter.model import Meter
from chiasm.models.vit.model import Vit
from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.recorder import record
from chiasm.preprocess.places import Place

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "meter.json").read_text(encoding="utf-8"))
PAPERS = MeterConfig(
    vision=replace(MeterConfig().vision, side=12, patch=4, width=128, depth=2, heads=2, hidden=512),
    text=BertConfig(
        vocabulary=30, positions=9, token_types=1, width=20, depth=2, heads=2, hidden=28, epsilon=1e-5
    ),
    width=24, heads=3, hidden=48, depth=3, types=3,
)  # fmt: skip
SHAPE = MeterConfig(
    vision=replace(VISION, norm_first=True, patch_bias=False, activation="quick_gelu"),
    text=replace(TEXT, width=16),
    width=32, heads=4, hidden=64, depth=2, decoder_depth=2, types=3,
)  # fmt: skip
FUSIONS = ("co", "merged")
BEGIN, END = 2, 3


def released() -> dict[str, Tensor]:
    """A checkpoint with the paper's names."""
    return state((name, shape) for name, shape in GOLDEN["shapes"])


def pictures(number: int, side: int = 12) -> Tensor:
    drawn = np.random.RandomState(number).randint(0, 256, (3, side, side, 3))
    return torch.from_numpy(drawn.astype(np.uint8))


def the_papers(precision: torch.dtype) -> HeadedMeter:
    heads = MeterHeadsConfig(
        words=True, matching=True, ranking=True, answers=tuple("abcdefg"), verdicts=("no", "yes"),
        entailment=("no", "maybe", "yes"),
    )  # fmt: skip
    model = HeadedMeter(PAPERS, heads)
    model.load_state_dict(convert(released()))
    return model.to(precision).eval()


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@torch.no_grad()
def test_numbers_are_the_papers(precision: torch.dtype, tolerance: float) -> None:
    model = the_papers(precision)
    ids = torch.tensor(GOLDEN["ids"])
    mask = ids != 1
    out = model.meter(pictures(0), ids, mask)
    pooled, second = model.meter.pooled(out), model.meter.vector(pictures(1), ids, mask, picture=2)
    found = {
        "picture": out.picture_bpd,
        "pooled": pooled,
        "wide": model.meter.vector(pictures(2, 20), ids, mask),
        "words": model.word_logits(out.text_btd)[:1, 1:3],
        "matching": model.match_logits(pooled),
        "ranking": model.fit(pooled),
        "answers": model.answer_logits(pooled),
        "entailment": model.entailment_logits(pooled),
        "verdicts": model.verdict_logits(torch.stack([pooled, second], dim=1)),
    }
    pairs = {name: (value, GOLDEN[name]) for name, value in found.items()}
    for row, real in enumerate(mask):
        pairs[f"text {row}"] = (out.text_btd[row, real], GOLDEN["text"][row])
    for name, (value, numbers) in pairs.items():
        expected = torch.tensor(numbers, dtype=torch.float64)
        off = (value.double() - expected).abs() / expected.abs().clamp(min=1)
        assert off.max() < tolerance, name


def test_names_that_meter_does_not_have_are_refused() -> None:
    whole = {**released(), "text_transformer.pooler.dense.weight": torch.zeros(3)}
    assert convert(whole).keys() == HeadedMeter(PAPERS, the_papers(torch.float32).heads).state_dict().keys()
    strange = ("vit_model.visual.proj", "text_transformer.encoder.layer.0.surprise.weight", "meter.type_nd")
    for name in strange:
        with pytest.raises(CheckpointError, match=name):
            convert({**released(), name: torch.zeros(1)})
    assert len(convert({"text_transformer.embeddings.position_embeddings.weight": torch.zeros(7, 2)}, 0)) == 1


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of which none is 0 or 1."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def a_model(fusion: str) -> Meter:
    torch.manual_seed(1)
    model = shaken(Meter(replace(SHAPE, fusion=fusion)))  # type: ignore[arg-type]
    assert isinstance(model, Meter)
    return model


def inputs(b: int = 3, t: int = 6, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (b, height, width, 3), dtype=torch.uint8, generator=g)
    return pixels, torch.randint(0, 20, (b, t), generator=g)


def attend(layer: MultiHeadAttention, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """Explicit attention, head by head; ``mask`` is ``[b, t, s]`` or ``[b, 1, s]``."""
    q, k, v = layer.query(x), layer.key(context), layer.value(context)
    each = q.shape[-1] // layer.heads
    heads = []
    for n in range(layer.heads):
        own = slice(n * each, (n + 1) * each)
        scores = q[..., own] @ k[..., own].transpose(1, 2) / math.sqrt(each)
        heads.append(scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v[..., own])
    return layer.output(torch.cat(heads, dim=-1))


def naive_block(block: nn.Module, x: Tensor, mask: Tensor, context: Tensor, seen: Tensor) -> Tensor:
    """Post-norm; across, too, if the block does."""
    x = block.attention_norm(x + attend(block.attention, x, x, mask))
    if block.cross is not None:
        x = block.cross_norm(x + attend(block.cross, x, context, seen))
    inner = F.gelu(block.feed_forward.expand(x))
    return block.feed_forward_norm(x + block.feed_forward.contract(inner))


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_fused_states_are_those_of_the_formulas(fusion: str) -> None:
    model = a_model(fusion).double()
    pixels, ids = inputs(height=12, width=8)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    everywhere = torch.ones(3, 7, dtype=torch.bool)
    t = model.text_map(model.text(ids, mask)) + model.type_nd[0]
    p = model.picture_map(model.vision(pixels)[1]) + model.type_nd[1]
    if fusion == "merged":
        x, both = torch.cat([t, p], dim=1), torch.cat([mask, everywhere], dim=1)[:, None]
        for block in model.fusion.blocks:
            x = naive_block(block, x, both, x, both)
    else:
        seen_t, seen_p = mask[:, None], everywhere[:, None]
        for of_t, of_p in zip(model.fusion.text, model.fusion.picture, strict=True):
            t, p = naive_block(of_t, t, seen_t, p, seen_p), naive_block(of_p, p, seen_p, t, seen_t)
        x = torch.cat([t, p], dim=1)
    out = model(pixels, ids, mask)
    real = out.mask_bs
    assert real.sum() == 12 + 21
    torch.testing.assert_close(out.states_bsd[real], x[real], atol=1e-10, rtol=0)
    halves = (model.text_pooler, x[:, 0]), (model.picture_pooler, x[:, 6])
    expected = torch.cat([torch.tanh(F.linear(y, m.dense.weight, m.dense.bias)) for m, y in halves], dim=1)
    torch.testing.assert_close(model.pooled(out), expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(model.vector(pixels, ids, mask), expected, atol=1e-10, rtol=0)
    without = model(pixels, ids)
    torch.testing.assert_close(model.vector(pixels, ids), model.pooled(without), atol=1e-10, rtol=0)
    assert bool(without.mask_bs.all())


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_a_missing_side_is_the_same_for_a_row_as_for_the_batch(fusion: str) -> None:
    model = a_model(fusion)
    pixels, ids = inputs()
    mask_bt = torch.ones_like(ids, dtype=torch.bool)
    mask_bt[0] = False
    mask_bp = torch.tensor([[True], [False], [True]])
    mixed = model(pixels, ids, mask_bt, mask_bp)
    arguments = (pixels[:1], None), (None, ids[1:2]), (pixels[2:], ids[2:])
    one_picture, one_text, both = (model(*given) for given in arguments)
    torch.testing.assert_close(mixed.picture_bpd[0], one_picture.picture_bpd[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed.text_btd[1], one_text.text_btd[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed.states_bsd[2], both.states_bsd[0], atol=1e-5, rtol=0)
    assert mixed.mask_bs.any(dim=1).tolist() == [True] * 3
    assert torch.isfinite(mixed.states_bsd).all()
    expected = torch.cat([model.vector(*given) for given in arguments])
    for pooled in (model.pooled(mixed), model.vector(pixels, ids, mask_bt, mask_bp)):
        torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=0)
        assert not pooled[0, :32].any()
        assert not pooled[1, 32:].any()
    nothing = model(pixels, ids, torch.zeros_like(mask_bt), torch.zeros(3, 1, dtype=torch.bool))
    assert torch.isfinite(nothing.states_bsd).all()
    assert not model.pooled(nothing).any()


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_padding_and_the_others_of_a_batch_change_nothing(fusion: str) -> None:
    model = a_model(fusion)
    pixels, ids = inputs(t=9, height=12)
    together = model(pixels, ids, torch.arange(9) < torch.tensor([[9], [1], [4]]))
    for row, length in enumerate((9, 1, 4)):
        alone = model(pixels[row : row + 1], ids[row : row + 1, :length])
        torch.testing.assert_close(together.picture_bpd[row], alone.picture_bpd[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.text_btd[row, :length], alone.text_btd[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("missing", [False, True])
def test_gradients_reach_every_parameter(fusion: str, missing: bool) -> None:
    model = a_model(fusion)
    pixels, ids = inputs()
    there = torch.tensor([[True], [not missing], [True]])
    out = model(pixels, ids, there.roll(1, 0).expand(3, 6) if missing else None, there if missing else None)
    (out.states_bsd[out.mask_bs].square().sum() + model.pooled(out).sum()).backward()
    unused = {"text.token_type.weight"}  # of which only the first row is
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0 or name in unused, name


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_attention_is_recorded_and_changes_nothing(fusion: str) -> None:
    model = a_model(fusion)
    pixels, ids = inputs()
    mask = torch.arange(6) < torch.tensor([[6], [2], [0]])
    before, quick = model(pixels, ids, mask), model.vector(pixels, ids, mask)
    with record(model) as seen:
        after = model(pixels, ids, mask)
    torch.testing.assert_close(after.states_bsd, before.states_bsd, atol=1e-6, rtol=1e-6)
    with record(model) as again:
        torch.testing.assert_close(model.vector(pixels, ids, mask), quick, atol=1e-6, rtol=1e-6)
    assert [name for name, _ in again.weights] == [name for name, _ in seen.weights]
    shapes = {name: tuple(alpha.shape) for name, alpha in seen.weights if name.startswith("fusion.")}
    if fusion == "merged":
        assert shapes == {f"fusion.blocks.{n}.attention": (3, 4, 11, 11) for n in range(2)}
    else:
        own = {"text.{}.attention": (6, 6), "text.{}.cross": (6, 5), "picture.{}.attention": (5, 5)}
        own["picture.{}.cross"] = (5, 6)
        expected = {f"fusion.{name.format(n)}": (3, 4, *s) for name, s in own.items() for n in range(2)}
        assert shapes == expected
    for name, alpha in seen.weights:
        total = alpha[:2].sum(dim=-1)
        torch.testing.assert_close(total, torch.ones_like(total), msg=name)


def test_positions_have_names() -> None:
    pixels, ids = inputs(t=2, height=4)
    places = a_model("co")(pixels, ids).places
    patches = [Place("patch", n, (n / 2, 0.0, (n + 1) / 2, 1.0)) for n in range(2)]
    assert places == [Place("token", 0), Place("token", 1), Place("class", 0), *patches]
    assert a_model("merged")(pixels, None).places == places[2:]
    assert a_model("co")(None, ids).places == places[:2]


@torch.no_grad()
def test_it_begins_from_a_clip_and_a_roberta() -> None:
    torch.manual_seed(3)
    vit = shaken(Vit(replace(SHAPE.vision, depth=3, norm_last="pooled")))
    bert = shaken(Bert(SHAPE.text))
    model = a_model("co")
    model.start(vit, bert)  # type: ignore[arg-type]
    pixels, ids = inputs()
    everywhere = torch.ones_like(ids, dtype=torch.bool)
    torch.testing.assert_close(model.text(ids, everywhere), bert(ids, everywhere))
    cut = Vit(SHAPE.vision)
    cut.load_state_dict({name: x for name, x in vit.state_dict().items() if "blocks.2" not in name})
    torch.testing.assert_close(model.vision(pixels)[1], cut(pixels)[1])
    with pytest.raises(ValueError, match="expected weights of the same shape, got"):
        model.start(Vit(replace(SHAPE.vision, depth=1)))


def naive_logits(decoder: AnswerDecoder, ids: Tensor, states: Tensor, seen: Tensor) -> Tensor:
    """Of the last token, from the whole sequence."""
    t = ids.shape[1]
    back = torch.ones(t, t).tril().bool()[None]
    x = decoder.norm(decoder.token(ids) + decoder.position.weight[:t])
    for block in decoder.blocks:
        x = naive_block(block, x, back, states, seen[:, None])
    words = decoder.words
    x = words.norm(F.gelu(words.dense(x)))
    return (x @ decoder.token.weight.T + words.bias)[:, -1]


def a_writer(fusion: str = "co") -> HeadedMeter:
    config = replace(SHAPE, fusion=fusion, kind="encoder-decoder")  # type: ignore[arg-type]
    torch.manual_seed(1)
    model = shaken(HeadedMeter(config, MeterHeadsConfig()))
    assert isinstance(model, HeadedMeter)
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_the_decoder_is_that_of_the_formulas(fusion: str) -> None:
    model = a_writer(fusion).double()
    decoder = model.decoder
    assert decoder is not None
    pixels, ids = inputs()
    states = model.meter(pixels, ids, torch.arange(6) < torch.tensor([[6], [2], [4]]))
    x, seen = states.states_bsd, states.mask_bs
    written = torch.full((3, 1), BEGIN)
    losses = []
    for _ in range(5):
        logits = naive_logits(decoder, written, x, seen)
        torch.testing.assert_close(decoder(written, x, seen)[:, -1], logits, atol=1e-10, rtol=0)
        written = torch.cat([written, logits.argmax(dim=-1, keepdim=True)], dim=1)
        losses.append(F.cross_entropy(logits, written[:, -1], reduction="none"))
    texts = model.write(states, BEGIN, ends=(), most=5)
    assert texts == written[:, 1:].tolist()
    ends = (texts[0][2],)
    assert model.write(states, BEGIN, ends=ends, most=0) == [[], [], []]
    for text, cut in zip(texts, model.write(states, BEGIN, ends=ends, most=5), strict=True):
        assert cut == text[: text.index(ends[0])] if ends[0] in text else cut == text
    padded = torch.arange(6) < torch.tensor([[6], [3], [4]])
    expected = torch.stack(losses, dim=1)[padded[:, 1:]].mean()
    torch.testing.assert_close(model.decoder_loss(states, written, padded), expected, atol=1e-10, rtol=0)


@torch.no_grad()
def test_the_decoder_looks_at_what_is_there() -> None:
    model = a_writer().double()
    pixels, ids = inputs()
    there = torch.tensor([[True], [False], [False]])
    real = torch.tensor([[True], [True], [False]]).expand(3, 6)
    states = model.meter(pixels, ids, real, there)
    assert model.decoder is not None
    given = torch.tensor([[BEGIN, 7, 8]]).expand(3, 3)
    logits = model.decoder(given, states.states_bsd, states.mask_bs)
    with record(model) as seen:
        again = model.decoder(given, states.states_bsd, states.mask_bs)
    torch.testing.assert_close(again, logits, atol=1e-10, rtol=0)
    assert [name for name, _ in seen.weights] == [
        f"decoder.blocks.{n}.{layer}" for n in range(2) for layer in ("attention", "cross")
    ]
    words = model.meter(None, ids[1:2])
    alone = model.decoder(given[:1], words.states_bsd)
    torch.testing.assert_close(logits[1], alone[0], atol=1e-10, rtol=0)
    assert torch.isfinite(logits).all()
    assert len(model.generate(states, BEGIN, str, ends=(END,), most=12)) == 3


@torch.no_grad()
def test_heads_answer_by_name_and_say_what_is_not_there() -> None:
    torch.manual_seed(0)
    model = HeadedMeter(SHAPE, MeterHeadsConfig(matching=True, ranking=True, answers=("a", "b", "c")))
    pooled = torch.randn(2, 64)
    model.start_ranking()
    torch.testing.assert_close(model.fit(pooled), model.match_logits(pooled)[:, 1])
    best = model.likeliest(pooled, top_k=2)
    chances = model.answer_logits(pooled).sigmoid()
    assert [[answer.text for answer in own] for own in best] == [
        ["abc"[n] for n in row.argsort(descending=True)[:2]] for row in chances
    ]
    assert best[0][0].probability == pytest.approx(float(chances[0].max()))
    model.ranking = None
    logits = model.match_logits(pooled)
    torch.testing.assert_close(model.fit(pooled).sigmoid(), logits.softmax(dim=-1)[:, 1])
    states = model.meter(*inputs(b=2))
    for refused in (
        lambda: model.word_logits(states.text_btd),
        lambda: model.verdict_logits(torch.stack([pooled, pooled], dim=1)),
        lambda: model.entailment_logits(pooled),
        lambda: model.decoder_loss(states, torch.zeros(2, 3, dtype=torch.long)),
        lambda: model.write(states, BEGIN, ends=(END,), most=2),
    ):
        with pytest.raises(InvalidInput, match="expected a METER with a head for"):
            refused()


def test_arguments_that_do_not_fit_are_refused() -> None:
    model = a_model("co")
    pixels, ids = inputs()
    real = torch.ones_like(ids, dtype=torch.bool)
    for given, named in (
        ((None, None), "expected pictures, texts or both, got neither"),
        ((pixels[:2], ids), r"expected pixels of shape \[3, h, w, 3\].*got torch.uint8 \[2, 8, 8, 3\]"),
        ((pixels[:, :7], ids), r"sides of whole patches, got torch.uint8 \[3, 7, 8, 3\]"),
        ((pixels[..., :2], None), r"got torch.uint8 \[3, 8, 8, 2\]"),
        ((pixels, ids[0]), r"expected ids of shape \[b, t\], got torch.int64 \[6\]"),
        (
            (pixels, ids, real[:, :5]),
            r"expected mask of tokens of shape bool \[3, 6\], got torch.bool \[3, 5\]",
        ),
        ((pixels, ids, real.long()), r"expected mask of tokens of shape bool \[3, 6\], got torch.int64"),
        ((pixels, ids, real, real), r"expected mask of the picture of shape bool \[3, 5\] or \[3, 1\], got"),
        ((None, ids.repeat(1, 3)), "expected at most 12 tokens, got 18"),
    ):
        with pytest.raises(ValueError, match=named):
            model.forward(*given)
        with pytest.raises(ValueError, match=named):
            model.vector(*given)
    with pytest.raises(ValueError, match="type 1 to 2, got 3"):
        model(pixels, ids, picture=3)
    writer = a_writer()
    states = writer.meter(pixels, ids)
    with pytest.raises(ValueError, match="expected at most 12 tokens, got 13"):
        writer.decoder_loss(states, torch.zeros(3, 14, dtype=torch.long))
    with pytest.raises(ValueError, match="expected at most 12 tokens to write, got 13"):
        writer.write(states, BEGIN, ends=(END,), most=13)
    with pytest.raises(ValueError, match="expected at least one token after the first, got none"):
        writer.decoder_loss(states, torch.zeros(3, 1, dtype=torch.long))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "early"}, "got 'early'"),
        ({"kind": "decoder"}, "got 'decoder'"),
        ({"vision": replace(VISION, class_token=False, pooling="mean")}, "class token"),
        ({"vision": replace(VISION, norm_last="pooled")}, "normalises all states, got 'pooled'"),
        ({"depth": 0}, "got 0 and 2"),
        ({"types": 1}, "at least 2 types, of texts and of pictures, got 1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SHAPE, **changes)


def test_the_default_is_the_published_shape() -> None:
    with torch.device("meta"):
        model = Meter(MeterConfig())
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert counts["text"] == 124_645_632 - 590_592 - 2 * 768  # RoBERTa-base less pooler and unread positions
    assert counts["vision"] == 85_799_424 - 7_087_872  # CLIP-ViT-B/16 less a block
