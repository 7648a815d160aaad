"""A page that is opened before the server has loaded everything, or while it indexes a folder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser_fakes import Site
from browser_media import png, wav
from page_reader import Page

from chiasm.jobs import JobRecord

pytestmark = pytest.mark.browser


@pytest.fixture
def at_work(site: Site) -> Iterator[Site]:
    """A server that is indexing a folder into the sample."""
    store = site.library.get_store("sample").store.id
    job = JobRecord(
        id="job_1", name="index_folder", status="running", params={"store": store}, done=6, total=9
    )
    site.library.jobs = [job]
    yield site
    site.library.jobs = []
    site.library.starting = False


def test_before_the_model_is_loaded_the_page_says_so_and_goes_on_by_itself(at_work: Site, page: Page) -> None:
    at_work.library.starting = True
    page.driver.get(page.url)
    page.until(lambda: page.title == "Just a moment")
    assert "The model is being loaded" in page.find("#message").text
    at_work.library.starting = False
    page.until(lambda: page.title == "In “sample”" and page.names)


def test_a_folder_that_is_being_indexed_is_shown_and_followed(at_work: Site, page: Page) -> None:
    page.until(lambda: page.find("#work-words").text.startswith("6 of 9 files indexed"))
    assert page.find("#work-progress").get_property("value") == pytest.approx(6 / 9)
    added = at_work.library.add_file("sample", png("blue"), "late.png", {}).file.id
    at_work.library.jobs = [replace(at_work.library.jobs[0], status="completed", done=9)]
    page.until(lambda: "late.png" in page.names)
    assert not page.find("#work").is_displayed()
    at_work.library.delete_file(added)


def test_a_reader_at_a_card_is_not_disturbed_by_what_comes_in(at_work: Site, page: Page) -> None:
    page.until(lambda: page.find("#work").is_displayed())
    page.driver.execute_script("document.querySelector('.card').focus()")
    added = at_work.library.add_file("sample", wav(700), "late.wav", {}).file.id
    at_work.library.jobs = []
    page.until(lambda: not page.find("#work").is_displayed())
    assert "late.wav" not in page.names
    at_work.library.delete_file(added)


def test_what_is_not_found_may_come_yet(at_work: Site, page: Page) -> None:
    page.until(lambda: page.find("#work").is_displayed())
    assert page.search("zeppelin") == []
    assert page.title == "Nothing relevant yet"
    assert "still being indexed" in page.find("#message").text
    added = at_work.library.add_file("sample", b"zeppelin", "zeppelin.txt", {}).file.id
    page.find("#message button").click()
    page.until(lambda: page.names == ["zeppelin.txt"])
    at_work.library.delete_file(added)


def test_errors_are_for_people_who_know_no_fields(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(png("red")[:60])
    page.choose("#query-file", broken)
    page.until(lambda: page.title == "The search did not work")
    assert page.find("#message p").text.startswith("expected an intact PNG picture")
