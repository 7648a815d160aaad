"""The models' dialog: what is served, one brought from a hub, a library that changes its model."""

from collections.abc import Iterator

import pytest
from browser_fakes import Site
from hub_server import Hub, serve
from page_reader import Page
from selenium.webdriver.common.keys import Keys

FILES = {"config.json": b"{}", "model.safetensors": bytes(3_000_000)}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    monkeypatch.setenv("MODEL_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
    with serve(Hub(files=dict(FILES))) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def models(site: Site) -> Iterator[None]:
    """As before, whatever the test adds."""
    yield
    site.library.finish()
    for info in site.library.list_stores().data:
        if info.store.model is not None:
            site.library.delete_store(info.store.id)
    registry = site.library._registry
    for name in [name for name in registry.sources() if registry.added(name)]:
        registry.remove(name)


def rows(page: Page) -> list[str]:
    return [row.get_attribute("data-model") or "" for row in page.all("#models li")]


def look_for(page: Page, name: str) -> None:
    field = page.find("#offer-field")
    field.clear()
    field.send_keys(name)
    page.find("#offer-go").click()


@pytest.mark.usefixtures("models")
def test_the_models_are_shown_with_what_is_known_of_them(page: Page) -> None:
    page.find("#model").click()
    page.until(lambda: rows(page) == ["fake-model"])
    words = page.find("#models li").text
    for expected in (
        "fake-model",
        "loaded",
        "Apache-2.0",
        "en, zh",
        "64 dimensions",
        "Makes the vectors of “sample”",
    ):
        assert expected in words
    assert len(page.all("#models .model-kinds .icon")) == 4
    page.press(Keys.ESCAPE)
    assert page.focused() == "model"
    assert page.complaints() == []


@pytest.mark.usefixtures("models")
def test_a_model_is_brought_and_a_library_changes_to_it(page: Page, hub: Hub) -> None:
    page.find("#model").click()
    look_for(page, "hf:owner/tiny")
    page.until(lambda: page.find("#offer-go").text == "Fetch")
    assert page.find("#offer-words").text == "3 MB · mit"
    page.find("#offer-go").click()
    page.until(lambda: "of 100 MB" in page.find("#offer-words").text)
    assert page.find("#offer-progress").is_displayed()
    page.until(lambda: rows(page) == ["fake-model", "tiny"])
    assert page.find("#offer-field").get_attribute("value") == ""
    page.find("[data-model=tiny] .model-actions .plain").click()
    page.until(lambda: not page.find("#models-dialog").is_displayed())

    def changed() -> bool:
        page.open()
        page.find("#model").click()
        page.until(lambda: len(rows(page)) == 2)
        return "Makes the vectors of “sample”" in page.find("[data-model=tiny]").text

    page.until(changed)
    page.press(Keys.ESCAPE)
    assert "orchard.md" in page.search("a red apple")
    assert page.complaints() == []


@pytest.mark.usefixtures("models")
def test_what_goes_wrong_is_said_beside_the_field(chinese_page: Page, hub: Hub) -> None:
    page = chinese_page
    page.find("#model").click()
    for name in ("hf:owner/other", "hf:nothing", "/no/such/folder"):
        look_for(page, name)
        page.until(lambda: page.find("#offer-problem").text)
        assert page.find("#offer-go").text == "查看"
        assert page.find("#offer-go").is_enabled()
    assert rows(page) == ["fake-model"]
