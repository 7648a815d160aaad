"""How training uses the machine: never at the price of an error where the machine is another."""

import subprocess
import sys

import pytest
import torch

from chiasm.training import memory, precision

HELD = """
import resource, sys, torch
from chiasm.training.memory import hold_memory
if sys.argv[1] == "held":
    hold_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.zeros(16_000_000)
before = faults()
for _ in range(3):
    torch.zeros(16_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_blocks_that_come_again_are_not_mapped_anew() -> None:
    def faults(how: str) -> int:
        ran = subprocess.run([sys.executable, "-c", HELD, how], capture_output=True, text=True, check=True)
        return int(ran.stdout)

    assert faults("held") < 200, "each of 64 MB, mapped anew, would be 16,000 pages"
    assert faults("as usual") > 10_000


def test_a_system_without_glibc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", no_library)
    memory.hold_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    memory.hold_memory()


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_matrices_are_multiplied_in_bfloat16_where_that_is_fast(
    supported: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    with precision.mixed(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
