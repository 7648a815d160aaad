"""Languages, widths, colours and names for those who do not see the page."""

import re

import pytest
from page_reader import Page

pytestmark = pytest.mark.browser
CONTRAST = """
const parse = (css) => css.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const poor = [];
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const words = walker.currentNode.textContent.trim();
  if (!words || !element.checkVisibility() || element.closest(".visually-hidden, option")) continue;
  const front = light(parse(getComputedStyle(element).color));
  const [a, b] = [front, light(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) poor.push(`${element.className || element.tagName} ${ratio.toFixed(2)} ${words}`);
}
return poor;
"""
NAMELESS = """
const all = document.querySelectorAll(
  "button, a[href], input:not([type=file]), select, audio, video, article");
const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length;
return [...all].filter((e) => e.checkVisibility() && !named(e)).map((e) => e.outerHTML.slice(0, 120));
"""
WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_each_reader_gets_their_language(chinese_page: Page) -> None:
    assert chinese_page.find("html").get_attribute("lang") == "zh-Hans"
    assert chinese_page.title == "“sample”的内容"
    assert chinese_page.search("高音") == ["whistle.wav"]
    assert chinese_page.title == "1 条结果"


def test_the_language_can_be_switched_and_is_remembered(page: Page) -> None:
    assert page.find("html").get_attribute("lang") == "en"
    page.find("#language").click()
    page.until(lambda: page.title == "“sample”的内容")
    assert page.find("#query").get_attribute("placeholder").startswith("描述")
    page.open()
    assert page.find("html").get_attribute("lang") == "zh-Hans"
    english = re.findall(r"[A-Za-z]{4,}", page.find("header").text + page.find(".hero-words").text)
    assert set(english) <= {"chiasm", "English", "sample"}


@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_screen_never_scrolls_sideways(page: Page, width: int) -> None:
    page.resize(width, 740)
    page.open()
    assert page.driver.execute_script(WIDER) == 0
    page.search("red")
    assert page.driver.execute_script(WIDER) == 0
    page.find("#add").click()
    assert page.find("#choose-folder").is_displayed()
    assert page.driver.execute_script(WIDER) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(page: Page, scheme: str) -> None:
    page.emulate(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    page.open()
    background = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) is (scheme == "dark")
    assert page.driver.execute_script(CONTRAST) == []
    page.search("red")
    assert page.driver.execute_script(CONTRAST) == []
    page.search("zeppelin")
    assert page.driver.execute_script(CONTRAST) == []


def test_everything_has_a_name(page: Page) -> None:
    assert page.driver.execute_script(NAMELESS) == []
    page.search("red")
    assert page.driver.execute_script(NAMELESS) == []
    assert page.find("#live").get_property("textContent").strip() == page.title
    assert page.find("#live").get_attribute("aria-live") == "polite"


def test_nothing_moves_for_those_who_asked_for_calm(page: Page) -> None:
    page.emulate(prefers_reduced_motion="reduce")
    moving = "return getComputedStyle(document.querySelector('.card')).transitionDuration"
    page.until(lambda: page.all(".card"))
    assert page.driver.execute_script(moving) == "0s"
