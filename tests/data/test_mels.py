import numpy as np
import pytest

from chiasm.data.builders.mels import dequantise, join, quantise, read_shard, shorter, write_shard
from chiasm.errors import DataError


def clips(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.uniform(-13, 5, (n, 64)).astype(np.float32), label, 7) for label, n in enumerate(lengths)]


def test_a_byte_keeps_a_log_mel_to_a_24th_of_a_nat():
    values = np.linspace(-13.8, 7.0, 500, dtype=np.float32)
    assert np.abs(dequantise(quantise(values)) - values).max() <= 1 / 24 + 1e-5


def test_a_shard_gives_back_its_clips_without_the_ones_too_short_to_say_anything(tmp_path):
    made = clips([20, 3, 31])
    assert write_shard(tmp_path / "a", made) == 2
    shard = read_shard(tmp_path / "a")
    assert shard.lengths.tolist() == [20, 31]
    assert shard.labels.tolist() == [0, 2]
    assert np.abs(shard.clip(1) - made[2][0]).max() < 0.05


def test_joined_shards_hold_the_clips_of_both(tmp_path):
    write_shard(tmp_path / "a", clips([20, 12]))
    write_shard(tmp_path / "b", clips([40], seed=1))
    both = join([read_shard(tmp_path / "a"), read_shard(tmp_path / "b")])
    np.testing.assert_array_equal(both.clip(2), read_shard(tmp_path / "b").clip(0))
    assert shorter(both, 20).lengths.tolist() == [20, 12]


def test_a_shard_whose_frames_are_cut_off_is_refused(tmp_path):
    write_shard(tmp_path / "a", clips([20, 12]))
    frames = tmp_path / "a.u8"
    frames.write_bytes(frames.read_bytes()[: 64 * 25])
    with pytest.raises(DataError, match="does not fit"):
        read_shard(tmp_path / "a")
    with pytest.raises(DataError, match="expected an audio shard"):
        read_shard(tmp_path / "missing")
