"""Searching, as a person does it."""

import base64
from pathlib import Path

import pytest
from browser_fakes import Site
from browser_media import png, wav, webm, write
from page_reader import DROP, PASTE, Page
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.browser


def test_the_page_opens_with_what_the_sample_holds(page: Page) -> None:
    page.until(lambda: len(page.names) == 6)
    assert page.title == "In “sample”"
    assert "fake-model" in page.find("footer").text
    assert "Apache-2.0" in page.find("footer").text
    page.until(lambda: "Red apple\n" in page.text)  # the beginning of a text is shown
    assert page.complaints() == []


@pytest.mark.parametrize("words", ["a red apple", "红色的苹果"])
def test_words_find_pictures_and_texts(page: Page, words: str) -> None:
    found = page.search(words)
    assert {"red-apple.png", "orchard.md"} <= set(found)
    assert "green-leaf.png" not in found
    assert page.title == f"{len(found)} results"
    assert page.complaints() == []


def test_a_result_says_how_relevant_it_is(page: Page) -> None:
    page.search("red")
    fit = page.card("red-apple.png").find_element(By.CLASS_NAME, "fit")
    assert fit.text == "100%"
    assert "Cosine similarity 1.000" in fit.get_attribute("title")


def test_a_video_is_found_at_its_second(page: Page) -> None:
    page.search("red moving")
    video = page.card("green-then-red.webm").find_element(By.TAG_NAME, "video")
    assert video.get_attribute("src").endswith("#t=6.00")
    assert "at 0:06" in page.card("green-then-red.webm").text
    page.driver.execute_script("arguments[0].muted = true; arguments[0].play()", video)
    page.until(lambda: video.get_property("currentTime") >= 6)


def test_a_sound_plays(page: Page) -> None:
    page.search("low")
    sound = page.card("hum.wav").find_element(By.TAG_NAME, "audio")
    page.driver.execute_script("arguments[0].muted = true; arguments[0].play()", sound)
    page.until(lambda: sound.get_property("currentTime") > 0)
    page.until(lambda: page.card("hum.wav").find_element(By.TAG_NAME, "img").get_property("naturalWidth") > 0)


def test_only_one_kind_can_be_shown(page: Page) -> None:
    page.search("red")
    everything = len(page.names)
    page.find(".filter[data-kind=image]").click()
    assert page.names == ["red-apple.png"]
    page.find(".filter[data-kind=all]").click()
    assert len(page.names) == everything > 1


def test_a_picture_is_a_question(page: Page, tmp_path: Path) -> None:
    page.choose("#query-file", *write(tmp_path, ask__png=png("green")))
    assert page.found()[0] == "green-leaf.png"
    assert "ask.png" in page.find("#asked").text


def test_a_sound_and_a_clip_are_questions(page: Page, tmp_path: Path) -> None:
    page.choose("#query-file", *write(tmp_path, ask__wav=wav(1500)))
    assert page.found() == ["whistle.wav"]
    page.choose("#query-file", *write(tmp_path, ask__webm=webm("green", seconds_each=2)))
    page.until(lambda: page.settled and "green-then-red.webm" in page.names)


def test_words_and_a_picture_make_one_question(page: Page, tmp_path: Path) -> None:
    page.choose("#query-file", *write(tmp_path, ask__png=png("red")))
    page.found()
    assert "orchard.md" in page.search("apple")
    assert page.all("#asked img")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_can_be_dropped_or_pasted(page: Page, way: str) -> None:
    content = base64.b64encode(png("green")).decode()
    if way == "drop":
        page.driver.execute_script(DROP, ".composer", "ask.png", content)
    else:
        page.driver.execute_script(PASTE, "ask.png", "image/png", content)
    assert page.found()[0] == "green-leaf.png"


def test_the_microphone_sends_wav_of_16_kilohertz(page: Page, site: Site) -> None:
    before = len(site.preprocessor.heard)
    page.find("#record").click()
    page.until(lambda: page.find("#record").get_attribute("aria-pressed") == "true")
    page.until(lambda: page.driver.execute_script("return performance.now()") and page.find("#record"))
    page.driver.execute_async_script("setTimeout(arguments[0], 500)")
    page.find("#record").click()
    page.found()
    [heard] = site.preprocessor.heard[before:]
    assert heard.rate == 16_000
    assert heard.seconds > 0.2
    assert page.complaints() == []


def test_more_like_this(page: Page) -> None:
    page.search("red apple")
    page.card("orchard.md").find_element(By.CSS_SELECTOR, "[aria-label='More like this']").click()
    page.until(lambda: page.settled and "red-apple.png" in page.names)
    assert "orchard.md" not in page.names
    assert "orchard.md" in page.find("#asked").text


def test_nothing_relevant_is_said_and_the_nearest_are_a_click_away(page: Page) -> None:
    assert page.search("zeppelin") == []
    assert page.title == "Nothing relevant"
    assert "sample" in page.find("#message").text
    page.find("#message button").click()
    page.until(lambda: page.settled and page.names)
    assert not page.find("#message").is_displayed()


def test_the_original_opens_beside_the_page(page: Page) -> None:
    page.search("red")
    link = page.card("red-apple.png").find_element(By.LINK_TEXT, "")
    assert link.get_attribute("target") == "_blank"
    assert link.get_attribute("href").endswith("/content")


def test_the_words_are_in_the_address(page: Page) -> None:
    page.search("red")
    assert page.driver.current_url.endswith("?q=red")
    found = page.names
    page.open("?q=red")
    assert page.found() == found
    page.press(Keys.ESCAPE)
    page.until(lambda: page.title == "In “sample”")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.driver.execute_script("document.activeElement.blur()")
    page.press("/")
    assert page.focused() == "query"
    page.press("red", Keys.ENTER)
    found = page.found()
    page.press(Keys.ARROW_DOWN)
    assert page.focused() == found[0]
    page.press(Keys.ARROW_RIGHT)
    assert page.focused() == found[1]
    page.press(Keys.ARROW_LEFT)
    page.press(Keys.TAB)  # into the card: a player, or the first button
    assert page.focused() != found[0]
    page.press(Keys.ESCAPE)
    page.until(lambda: page.title == "In “sample”" and page.focused() == "query")
    assert page.find("#query").get_property("value") == ""


def test_a_server_that_is_gone_is_said_to_be(page: Page) -> None:
    page.driver.set_network_conditions(offline=True, latency=0, throughput=0)
    page.search("red")
    page.driver.delete_network_conditions()
    assert page.title == "The search did not work"
    assert "The server does not answer" in page.find("#message").text
