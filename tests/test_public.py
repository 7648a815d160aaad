"""The public surface of the package."""

import tomllib
from pathlib import Path

import pytest

import chiasm

ROOT = Path(__file__).parents[1]


def test_what_is_public():
    assert set(chiasm.__all__) == {
        "Audio",
        "Image",
        "Item",
        "LanguageModel",
        "Modality",
        "Model",
        "Text",
        "Url",
        "Video",
        "__version__",
        "errors",
        "load",
        "load_language",
    }


@pytest.mark.parametrize("name", chiasm.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(chiasm, name) is not None
    assert name in dir(chiasm)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'chiasm' has no attribute 'nonsense'"):
        chiasm.nonsense  # noqa: B018


def test_names_are_the_same_objects_as_in_their_modules():
    from chiasm.errors import ChiasmError
    from chiasm.modality import Text

    assert chiasm.Text is Text
    assert chiasm.errors.ChiasmError is ChiasmError


def test_the_version_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chiasm.__version__ == project["version"]


def test_the_package_says_that_it_is_typed():
    assert (Path(chiasm.__file__).parent / "py.typed").is_file()
