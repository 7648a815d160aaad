import pytest
import torch
import torch.nn.functional as F

from chiasm.models.mini.audio import CTC_PER_STEP, AudioEncoder, AudioEncoderConfig
from chiasm.models.mini.phonemes import UNITS

SMALL = AudioEncoderConfig(stem=24, width=32, blocks=2, dim=20)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return AudioEncoder(SMALL).eval()


def test_padding_changes_nothing(encoder):
    torch.manual_seed(1)
    clips = torch.randn(3, 90, 64)
    lengths = torch.tensor([90, 61, 18])
    together = encoder(clips, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(clips[row : row + 1, :length], lengths[row : row + 1])
        steps = int(alone.steps[0])
        assert int(together.steps[row]) == steps == -(-length // 4) * CTC_PER_STEP
        torch.testing.assert_close(together.vector[row], alone.vector[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.units[row, :steps], alone.units[0, :steps], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.speech[row], alone.speech[0], atol=1e-5, rtol=1e-4)


def test_loudness_does_not_matter(encoder):
    torch.manual_seed(2)
    clip, length = torch.randn(1, 40, 64), torch.tensor([40])
    torch.testing.assert_close(
        encoder(clip, length).vector, encoder(clip - 3.0, length).vector, atol=1e-5, rtol=1e-4
    )


def test_tokens_add_up_to_the_vector_and_units_have_an_output_each(encoder):
    output = encoder(torch.randn(2, 33, 64), torch.tensor([33, 20]))
    torch.testing.assert_close(output.tokens.sum(1), output.vector)
    assert output.tokens.shape == (2, SMALL.heads, SMALL.dim)
    assert output.units.shape[-1] == len(UNITS)


def test_every_parameter_learns():
    torch.manual_seed(3)
    encoder = AudioEncoder(SMALL)
    output = encoder(torch.randn(2, 33, 64), torch.tensor([33, 20]))
    (output.vector.square().sum() + output.units.square().sum() + output.speech.square().sum()).backward()
    still = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_it_learns_to_tell_two_clips_apart():
    torch.manual_seed(4)
    encoder = AudioEncoder(SMALL)
    clips, lengths = torch.randn(2, 24, 64), torch.tensor([24, 24])
    targets = F.normalize(torch.randn(2, SMALL.dim), dim=-1)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=3e-3)
    for _ in range(40):
        cosines = F.normalize(encoder(clips, lengths).vector, dim=-1) @ targets.T
        loss = F.cross_entropy(25 * cosines, torch.arange(2))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


def test_the_default_tower_has_at_most_three_million_parameters():
    assert sum(p.numel() for p in AudioEncoder().parameters()) < 3_000_000
