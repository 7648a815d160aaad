"""A small corpus."""

from pathlib import Path

import pytest

from chiasm.evaluation.material import Material


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from oracle import write_corpus

    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture
def material(corpus: Path) -> Material:
    """With a model that knows everything in it."""
    from oracle import Oracle, material_of

    return material_of(corpus, Oracle())
