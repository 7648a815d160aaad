"""Models that are added while a server runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from chiasm.errors import ChiasmError, Conflict, InvalidInput, NotFound
from chiasm.serving.registry import FILE, MOST, Live, Registry
from chiasm.settings import LibrarySettings, NamedSource, Settings


def settings_for(folder: Path, *others: str) -> Settings:
    settings = Settings(library=LibrarySettings(data_dir=folder))
    return replace(settings, model=replace(settings.model, others=others))


def test_what_one_process_adds_the_others_see(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "clip=/models/clip")
    one, other = Registry(settings), Registry(settings)
    made: list[NamedSource] = []
    live = Live(other, lambda source: made.append(source) or source.source.upper())  # type: ignore[func-returns-value]
    assert dict(live) == {"clip": "/MODELS/CLIP"}
    one.add(NamedSource(name="bert", source="/models/bert"))
    one.add(NamedSource(name="bert", source="/models/bert"))
    assert dict(live) == {"bert": "/MODELS/BERT", "clip": "/MODELS/CLIP"}
    assert live["bert"] == live["bert"]
    assert len(made) == 2
    assert (other.added("bert"), other.added("clip"), other.added("vit")) == (True, False, False)
    assert Registry(settings).sources() == other.sources(), "it is there after a restart"
    other.remove("bert")
    assert "bert" not in Live(one, str)
    one.add(NamedSource(name="bert", source="/models/another"))
    assert live["bert"] == "/MODELS/ANOTHER"
    assert [source.name for source in made] == ["clip", "bert", "bert"]


@pytest.mark.parametrize(
    ("name", "source", "kind"),
    [
        ("clip", "/elsewhere", Conflict),
        ("chiasm-mini", "/elsewhere", Conflict),
        ("a/b", "/x", InvalidInput),
        ("", "/x", InvalidInput),
        ("a" * 65, "/x", InvalidInput),
    ],
)
def test_names_that_cannot_be_given(tmp_path: Path, name: str, source: str, kind: type[ChiasmError]) -> None:
    registry = Registry(settings_for(tmp_path, "clip=/models/clip"))
    with pytest.raises(kind):
        registry.add(NamedSource(name=name, source=source))
    assert not (tmp_path / FILE).exists()


def test_only_what_was_added_is_removed_and_not_too_many_are(tmp_path: Path) -> None:
    registry = Registry(settings_for(tmp_path, "clip=/models/clip"))
    for name in ("clip", "nobody", "chiasm-mini"):
        with pytest.raises(NotFound):
            registry.remove(name)
    for number in range(MOST - 1):
        registry.add(NamedSource(name=f"m{number}", source="/x"))
    with pytest.raises(InvalidInput, match="at most"):
        registry.add(NamedSource(name="more", source="/x"))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff"])
def test_a_damaged_file_does_not_stop_the_server(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert Registry(settings_for(tmp_path, "clip=/models/clip")).sources() == {"clip": "/models/clip"}
