"""A real server with a real library and a small fake model, and a real browser that looks at it."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoints"))

from browser_fakes import Site
from browser_media import SAMPLE, fill
from browser_site import fresh, serving
from page_reader import Page
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--force-device-scale-factor=1",
)  # fmt: skip


@pytest.fixture(scope="session")
def driver() -> Iterator[Chrome]:
    """One browser for all tests."""
    binaries = shutil.which("chromium"), shutil.which("chromedriver")
    if None in binaries:
        pytest.skip("chromium and chromedriver are not installed")
    options = ChromeOptions()
    options.binary_location = str(binaries[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        opened = Chrome(options, ChromeService(str(binaries[1])))
        yield opened
        opened.quit()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for all tests."""
    with serving(tmp_path_factory.mktemp("data")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    """The server with nothing but a store ``sample`` of two pictures, two sounds, a video and a text."""
    library = running.library
    stores = {info.store.name: info for info in library.list_stores().data}
    for name, info in stores.items():
        if name != "sample" or info.files.get("completed") != len(SAMPLE):
            library.delete_store(info.store.id)
    if library.find_store("sample") is None:
        fill(library, "sample")
    return running


@pytest.fixture
def page(site: Site, driver: Chrome) -> Page:
    """The page as someone sees it whose browser prefers English."""
    return fresh(site, driver, "en-US").open()


@pytest.fixture
def chinese_page(site: Site, driver: Chrome) -> Page:
    """The page as someone sees it whose browser prefers Chinese."""
    return fresh(site, driver, "zh-CN").open()
