"""Every test of this folder runs with the axes in names checked."""

from collections.abc import Iterator

import pytest
from shape_names import checked_shapes


@pytest.fixture(autouse=True)
def _shapes() -> Iterator[None]:
    with checked_shapes():
        yield
