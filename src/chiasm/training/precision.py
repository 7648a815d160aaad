"""In what precision matrices are multiplied while training; weights and losses stay in float32."""

from contextlib import AbstractContextManager

import torch


def mixed(device: torch.device) -> AbstractContextManager[None]:
    """Autocast to bfloat16 on a GPU and on CPUs with instructions for it; elsewhere it would be slower."""
    fast = device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)
