"""What a person does with the page and sees on it, in their words."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
PATIENCE = 20.0  # seconds; a busy machine is slow
DROP = """
const [target, name, contents] = arguments;
const transfer = new DataTransfer();
transfer.items.add(new File([Uint8Array.from(atob(contents), (c) => c.charCodeAt(0))], name));
const element = document.querySelector(target);
for (const type of ["dragover", "drop"]) {
  element.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: transfer }));
}
"""
PASTE = """
const [name, type, contents] = arguments;
const transfer = new DataTransfer();
transfer.items.add(new File([Uint8Array.from(atob(contents), (c) => c.charCodeAt(0))], name, { type }));
const paste = { bubbles: true, cancelable: true, clipboardData: transfer };
document.dispatchEvent(new ClipboardEvent("paste", paste));
"""


class Page:
    """The page in a browser.

    Args:
        url: of the server.
    """

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, address: str = "") -> "Page":
        self.driver.get(self.url + address)
        self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, "body[data-ready]"))
        return self

    def until(self, seen: Callable[[], T]) -> T:
        """Wait for something to be so; say what there was instead."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            try:
                found = seen()
            except StaleElementReferenceException:
                continue
            if found:
                return found
            time.sleep(0.03)
        raise AssertionError(f"not seen in {PATIENCE:.0f} s; the page says:\n{self.text}")

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    @property
    def text(self) -> str:
        return self.find("body").text

    @property
    def names(self) -> list[str]:
        """What is on the shelf, in order."""
        script = "return [...document.querySelectorAll('.card h3')].map((h) => h.textContent)"
        return list(self.driver.execute_script(script))

    @property
    def title(self) -> str:
        return self.find("#shelf-title").text

    @property
    def settled(self) -> bool:
        """Nothing is being searched, listed or uploaded."""
        busy = "body[data-busy], #tray[data-busy='true']"
        return not self.all(busy)

    def press(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def search(self, words: str) -> list[str]:
        """Type and press Enter; the names that are found."""
        field = self.find("#query")
        field.clear()
        field.send_keys(words, Keys.ENTER)
        return self.found()

    def found(self) -> list[str]:
        self.until(lambda: self.all("body[data-state='results']") and self.settled)
        return self.names

    def choose(self, selector: str, *paths: Path) -> None:
        """As if the files had been picked in the browser's dialog."""
        self.find(selector).send_keys("\n".join(map(str, paths)))

    def card(self, name: str) -> WebElement:
        return next(c for c in self.all(".card") if c.find_element(By.TAG_NAME, "h3").text == name)

    def focused(self) -> str:
        """Id, or the name of the card, that has the focus."""
        script = """
            const e = document.activeElement;
            return e.id || e.querySelector("h3")?.textContent || e.tagName;
        """
        return str(self.driver.execute_script(script))

    def emulate(self, **features: str) -> None:
        """``prefers_color_scheme="dark"``."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def prefer(self, language: str) -> None:
        """Ask for pages in this language, as a browser with that setting does."""
        agent = self.driver.execute_script("return navigator.userAgent")
        self.driver.execute_cdp_cmd(
            "Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language}
        )

    def resize(self, width: int, height: int = 800) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def complaints(self) -> list[str]:
        """What the browser logged as errors: scripts, policy violations, failed requests."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]
