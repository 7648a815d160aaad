"""The check of axes in names itself: it would notice."""

import pytest
import torch
from shape_names import axes_of, check

from chiasm.nn.attention import MultiHeadAttention
from chiasm.nn.stems import TokenStem


def test_axes_are_read_from_names() -> None:
    assert axes_of("x_btd") == "btd"
    assert axes_of("log_mel_bfm") == "bfm"
    assert axes_of("log_mel") is None
    assert axes_of("x") is None


def test_a_wrong_shape_is_noticed_at_the_call() -> None:
    with pytest.raises(AssertionError, match=r"TokenStem: ids_bt has the shape \[3\]"):
        TokenStem(5, 5, 4)(torch.zeros(3, dtype=torch.long))
    with pytest.raises(AssertionError, match="MultiHeadAttention: context_bsd has b = 2"):
        MultiHeadAttention(4, 2)(torch.zeros(1, 3, 4), torch.zeros(2, 3, 4))
    check("widths may differ", {"x_btd": torch.zeros(1, 2, 3), "context_bsd": torch.zeros(1, 4, 5)})
