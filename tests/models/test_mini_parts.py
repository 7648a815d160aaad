"""Parts of chiasm-mini by themselves: where they start, and what must not matter."""

import pytest
import torch
from torch import Tensor, nn

from chiasm.modality import Modality
from chiasm.models.mini.fusion import Encoded, Fusion, FusionConfig
from chiasm.models.mini.image import ImageHead, ImageHeadConfig
from chiasm.models.mini.video import MotionConfig, MotionEncoder

WIDTH = 12


def encoded(modality: Modality, tokens: int, seed: int) -> Encoded:
    draw = torch.Generator().manual_seed(seed)
    return Encoded(
        modality, 3 * torch.randn(WIDTH, generator=draw), torch.randn(tokens, WIDTH, generator=draw)
    )


@pytest.fixture
def fusion() -> Fusion:
    torch.manual_seed(0)
    return Fusion(FusionConfig(width=WIDTH, heads=2, hidden=16, depth=1, parts=3)).eval()


def taught(fusion: Fusion) -> Fusion:
    for parameter in (fusion.correction.weight, fusion.kind, fusion.place):
        nn.init.normal_(parameter, std=0.7)
    return fusion


def mixed() -> list[list[Encoded]]:
    return [
        [encoded(Modality.TEXT, 5, 1), encoded(Modality.IMAGE, 4, 2)],
        [encoded(Modality.VIDEO, 2, 3), encoded(Modality.TEXT, 1, 4), encoded(Modality.AUDIO, 9, 5)],
    ]


def test_fusion_starts_as_the_normalised_sum(fusion: Fusion) -> None:
    items = mixed()
    for vector, parts in zip(fusion(items), items, strict=True):
        total = torch.stack([own.vector / own.vector.norm() for own in parts]).sum(dim=0)
        assert torch.allclose(vector, total / total.norm(), atol=1e-6)


def test_fusion_learns_from_tokens_order_and_kind(fusion: Fusion) -> None:
    first, second = mixed()[0]
    plain = taught(fusion)([[first, second]])
    assert torch.allclose(plain.norm(dim=1), torch.ones(1), atol=1e-6)
    others = [
        [first._replace(tokens=first.tokens.flip(1)), second],
        [second, first],
        [first._replace(modality=Modality.AUDIO), second],
    ]
    for parts in others:
        assert not torch.allclose(fusion([parts]), plain, atol=1e-3)


def test_items_fused_together_do_not_see_each_other(fusion: Fusion) -> None:
    items = mixed()
    together = taught(fusion)(items)
    alone = torch.cat([fusion([parts]) for parts in items])
    assert torch.allclose(together, alone, atol=1e-6)


def test_parts_beyond_the_places_share_the_last_one(fusion: Fusion) -> None:
    parts = [encoded(Modality.IMAGE, 2, seed) for seed in range(5)]
    swapped = [*parts[:3], parts[4], parts[3]]
    assert torch.allclose(taught(fusion)([parts]), fusion([swapped]), atol=1e-6)
    early = [parts[1], parts[0], *parts[2:]]
    assert not torch.allclose(fusion([parts]), fusion([early]), atol=1e-3)


@pytest.fixture
def head() -> ImageHead:
    torch.manual_seed(0)
    config = ImageHeadConfig(
        pooled=10,
        coarse=6,
        fine=4,
        positions=9,
        hidden=14,
        width=8,
        heads=2,
        feed_forward=12,
        depth=1,
        queries=3,
        dim=WIDTH,
    )
    return ImageHead(config)


def test_the_image_head_starts_as_its_pooled_path(head: ImageHead) -> None:
    tokens, pooled = torch.randn(2, 9, 10), torch.rand(2, 10)
    vector, patches = head(tokens, pooled)
    assert torch.equal(vector, head.pooled_vector(pooled))
    assert vector.shape == (2, WIDTH)
    assert patches.shape == (2, 9, WIDTH)


def test_the_image_heads_correction_comes_from_the_patches_and_their_places(head: ImageHead) -> None:
    nn.init.normal_(head.correction.weight)
    tokens, pooled = torch.randn(2, 9, 10), torch.rand(2, 10)
    vector, _ = head(tokens, pooled)
    assert not torch.allclose(vector, head.pooled_vector(pooled), atol=1e-3)
    assert not torch.allclose(head(tokens.flip(1), pooled)[0], vector, atol=1e-4)
    assert not torch.allclose(head(tokens + torch.eye(10)[0], pooled)[0], vector, atol=1e-4)


@pytest.fixture
def motion() -> MotionEncoder:
    torch.manual_seed(0)
    return MotionEncoder(MotionConfig(side=8, patch=4, width=8, heads=2, hidden=12, depth=1, dim=WIDTH))


def frames(*shape: int) -> Tensor:
    return torch.randint(60, 190, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_motion_has_a_token_for_each_step_in_time(motion: MotionEncoder) -> None:
    vector, tokens = motion(frames(2, 5, 16, 16, 3))
    assert vector.shape == (2, WIDTH)
    assert tokens.shape == (2, 4, WIDTH)


def test_contrast_is_the_spread_normalised_grey_and_its_change(motion: MotionEncoder) -> None:
    clip = frames(2, 3, 16, 16, 3)
    got = motion.contrast(clip).double()
    grey = clip.double().mean(dim=-1) / 255
    small = grey.reshape(2, 3, 8, 2, 8, 2).mean(dim=(3, 5))
    for b in range(2):
        centred = small[b] - small[b].mean(dim=0)
        centred = centred / max(0.02, float(centred.std()))
        assert torch.allclose(got[b, 0], centred, atol=1e-4)
        assert torch.allclose(got[b, 1, 0], torch.zeros(8, 8, dtype=torch.float64), atol=1e-6)
        assert torch.allclose(got[b, 1, 1:], centred[1:] - centred[:-1], atol=1e-4)


def test_a_clip_in_which_nothing_moves_has_no_contrast(motion: MotionEncoder) -> None:
    still = frames(1, 1, 16, 16, 3).expand(-1, 4, -1, -1, -1)
    assert motion.contrast(still).abs().max() < 1e-4


def test_brightness_does_not_matter_but_direction_does(motion: MotionEncoder) -> None:
    clip = frames(1, 4, 16, 16, 3)
    forward, _ = motion(clip)
    assert torch.allclose(motion(clip + 40)[0], forward, atol=1e-3)
    assert not torch.allclose(motion(clip.flip(1))[0], forward, atol=1e-3)


def test_a_batch_of_clips_equals_clips_alone(motion: MotionEncoder) -> None:
    clips = frames(3, 4, 16, 16, 3)
    together, steps = motion(clips)
    for i in range(3):
        alone, own = motion(clips[i : i + 1])
        assert torch.allclose(alone, together[i : i + 1], atol=1e-5)
        assert torch.allclose(own[0], steps[i], atol=1e-5)
