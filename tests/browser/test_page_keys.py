"""A server that asks for a key, and a page that asks its reader."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_fakes import Site
from browser_media import fill
from browser_site import fresh, serving
from page_reader import Page
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys as Press

from chiasm.stores import Keys

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    with Keys(tmp_path_factory.mktemp("guarded")) as opened:
        yield opened


@pytest.fixture(scope="module")
def guarded(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("data"), keys) as site:
        fill(site.library, "sample")
        yield site


@pytest.fixture
def token(keys: Keys) -> str:
    return keys.create("reader", ("read", "write"))[1]


def asked(guarded: Site, driver: Chrome, language: str) -> Page:
    """The page of a reader who has just opened it, and is asked for a key."""
    page = fresh(guarded, driver, language)
    driver.get(guarded.url)
    driver.execute_script("sessionStorage.clear()")
    driver.get(guarded.url)
    page.until(lambda: page.find("#key-dialog").is_displayed())
    return page


def enter(page: Page, key: str) -> None:
    page.find("#key-field").send_keys(key, Press.ENTER)


def pictures(page: Page) -> int:
    return len(page.all("img[data-loaded]"))


def test_the_page_asks_for_a_key_and_shows_everything_with_it(
    guarded: Site, driver: Chrome, token: str, tmp_path: Path
) -> None:
    page = asked(guarded, driver, "en-US")
    assert "This server asks for a key" in page.text
    assert page.names == []
    assert page.find("#key-field").get_attribute("type") == "password"
    enter(page, "ck-wrong")
    page.until(lambda: "does not know this key" in page.find("#key-problem").text)
    page.find("#key-field").clear()
    enter(page, "密钥")
    page.until(lambda: "does not know this key" in page.find("#key-problem").text)
    page.find("#key-field").clear()
    page.complaints()
    enter(page, f" {token} ")
    page.until(lambda: page.all("body[data-ready]") and page.names)
    assert not page.find("#key-dialog").is_displayed()
    page.until(lambda: pictures(page) >= 2)
    script = (
        "const [done] = arguments; fetch(document.querySelector('audio').src).then((a) => done(a.status))"
    )
    assert driver.execute_async_script(script) == 200
    assert page.search("red apple")
    page.until(lambda: pictures(page) >= 1)
    assert driver.execute_script("return document.cookie.includes('chiasm_media')") is False
    kept = driver.execute_script("return [localStorage.length, sessionStorage.getItem('chiasm_key')]")
    assert kept == [0, token]

    added = tmp_path / "note.txt"
    added.write_text("a green note")
    page.open()
    page.choose("#files-input", added)
    page.until(lambda: "note.txt" in page.names and page.settled)
    guarded.library.delete_store("library")


def test_the_next_page_of_the_same_tab_needs_no_asking(guarded: Site, driver: Chrome, token: str) -> None:
    page = asked(guarded, driver, "en-US")
    enter(page, token)
    page.until(lambda: page.names)
    page.open()
    assert not page.find("#key-dialog").is_displayed()
    page.until(lambda: pictures(page) >= 2)


def test_a_key_that_was_revoked_meanwhile_is_asked_for_again(
    guarded: Site, driver: Chrome, keys: Keys
) -> None:
    record, token = keys.create("short", ("read",))
    page = asked(guarded, driver, "en-US")
    enter(page, token)
    page.until(lambda: page.all("body[data-ready]"))
    keys.revoke(record.id)
    page.find("#query").send_keys("red apple", Press.ENTER)
    page.until(lambda: page.find("#key-dialog").is_displayed())
    enter(page, keys.create("other", ("read",))[1])
    page.until(lambda: page.all("body[data-state='results']") and page.settled)
    assert page.names


def test_who_gives_no_key_is_told_in_chinese_and_may_think_again(
    guarded: Site, driver: Chrome, token: str
) -> None:
    page = asked(guarded, driver, "zh-CN")
    assert "此服务器需要密钥" in page.text
    page.press(Press.ESCAPE)
    page.until(lambda: "没有密钥" in page.find("#message").text)
    assert not page.find("#key-dialog").is_displayed()
    next(b for b in page.all("#message button") if b.text == "输入密钥").click()
    page.until(lambda: page.find("#key-dialog").is_displayed())
    enter(page, token)
    page.until(lambda: page.names)
