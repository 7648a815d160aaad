"""Golden numbers (tests/golden, beside the scripts that made them), and the axes in names checked."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))
sys.path.insert(0, str(GOLDEN.parent / "nn"))


@pytest.fixture(autouse=True)
def _shapes() -> Iterator[None]:
    from shape_names import checked_shapes

    with checked_shapes():
        yield


@pytest.fixture(scope="session")
def efficientnet_golden() -> Any:
    return json.loads((GOLDEN / "efficientnet.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def bert_golden() -> Any:
    return json.loads((GOLDEN / "bert.json").read_text(encoding="utf-8"))
