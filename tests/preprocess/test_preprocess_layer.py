"""Media and preprocess stay light: a web worker imports them."""

import subprocess
import sys

import pytest

import chiasm.media
import chiasm.preprocess


@pytest.mark.parametrize("module", ["chiasm.media", "chiasm.preprocess"])
def test_no_torch_is_imported(module):
    code = f"import {module}, sys; print(sorted({{'torch', 'flask', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [chiasm.media, chiasm.preprocess])
def test_the_public_names_exist(module):
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)
