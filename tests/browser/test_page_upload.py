"""Putting one's own media in, and taking them out."""

import base64
from pathlib import Path

import pytest
from browser_fakes import Site
from browser_media import png, wav, write
from page_reader import DROP, Page
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.browser
TRAP = "<img src=x onerror=document.title='caught'>.png"


def test_chosen_files_are_indexed_and_found(page: Page, tmp_path: Path) -> None:
    paths = write(tmp_path, sky__png=png("blue"), horn__wav=wav(2000))
    page.choose("#files-input", *paths)
    page.until(lambda: page.find("#tray-title").text == "2 files added")
    assert page.find("#tray-progress").get_property("value") == 1
    page.until(lambda: page.settled and page.title == "In “library”")
    assert sorted(page.names) == ["horn.wav", "sky.png"]
    assert page.search("blue") == ["sky.png"]
    assert page.complaints() == []


def test_a_dropped_file_goes_to_the_library(page: Page) -> None:
    content = base64.b64encode(png("blue")).decode()
    page.driver.execute_script(DROP, ".shelf", "sky.png", content)
    page.until(lambda: page.settled and page.names == ["sky.png"])
    assert page.find("#live").get_property("textContent").startswith("1 file added")


def test_a_folder_is_taken_with_what_is_in_it(page: Page, tmp_path: Path) -> None:
    inner = tmp_path / "album" / "summer"
    inner.mkdir(parents=True)
    write(inner, sky__png=png("blue"))
    write(tmp_path / "album", leaf__png=png("green"))
    (tmp_path / "album" / ".DS_Store").write_bytes(b"\0")
    page.choose("#folder-input", tmp_path / "album")
    page.until(lambda: page.find("#tray-title").text == "2 files added")
    page.until(lambda: sorted(page.names) == ["leaf.png", "sky.png"])


def test_each_bad_file_is_named_with_its_reason(chinese_page: Page, tmp_path: Path) -> None:
    page = chinese_page
    broken = png("red")[:60]
    page.choose(
        "#files-input", *write(tmp_path, sky__png=png("blue"), broken__png=broken, b__zip=b"PK\3\4" * 9)
    )
    page.until(lambda: page.find("#tray-title").text == "已添加 1 个，2 个失败")
    errors = {e.find_element(By.TAG_NAME, "bdi").text: e.text for e in page.all("#tray-errors li")}
    assert set(errors) == {"broken.png", "b.zip"}
    assert "应为" in errors["b.zip"]
    assert "应为" in errors["broken.png"]
    page.until(lambda: page.settled and page.title == "“library”的内容")
    assert page.all(".card[data-status=failed]")


@pytest.mark.parametrize("query", ["blue", ""])
def test_a_file_name_is_never_more_than_a_name(page: Page, query: str) -> None:
    content = base64.b64encode(png("blue")).decode()
    page.driver.execute_script(DROP, ".shelf", TRAP, content)
    page.until(lambda: page.settled and page.names == [TRAP])
    if query:
        assert page.search(query) == [TRAP]
    page.find(".card [aria-label='Delete']").click()
    page.until(lambda: TRAP in page.find("#confirm-text").text)
    assert not page.all("[onerror]")
    assert page.driver.title != "caught"
    assert page.complaints() == []


def test_a_file_can_be_deleted_and_one_is_asked_first(page: Page, site: Site) -> None:
    page.search("red")
    delete = "[aria-label='Delete']"
    page.card("red-apple.png").find_element(By.CSS_SELECTOR, delete).click()
    page.until(lambda: page.find("#confirm-dialog").is_displayed())
    page.find("#confirm-dialog [value=no]").click()
    assert "red-apple.png" in page.names
    page.card("red-apple.png").find_element(By.CSS_SELECTOR, delete).click()
    page.find("#confirm-dialog [value=yes]").click()
    page.until(lambda: "red-apple.png" not in page.names)
    page.until(lambda: "red-apple.png was deleted" in page.find("#live").get_property("textContent"))
    assert "red-apple.png" not in {entry.file.name for entry in site.library.list_files("sample").data}


def test_the_store_can_be_changed_and_is_remembered(page: Page, site: Site) -> None:
    site.library.create_store("travels")
    page.open()
    assert page.title == "In “sample”"
    page.find("#store option:nth-child(2)").click()
    page.until(lambda: page.title == "“travels” is empty")
    page.open()
    assert page.title == "“travels” is empty"
