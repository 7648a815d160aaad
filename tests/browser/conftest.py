"""A real server with a real library and a small fake model, and a real browser that looks at it."""

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browser_fakes import BackgroundLibrary, FakeEmbedder, FakePreprocessor, Site
from browser_media import SAMPLE, fill
from page_reader import Page
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from werkzeug.serving import make_server

from chiasm.api.app import create_app
from chiasm.api.context import ApiContext
from chiasm.library.cutting import MediaCutter
from chiasm.settings import LibrarySettings, Settings

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
    settings = replace(Settings(), library=LibrarySettings(data_dir=tmp_path_factory.mktemp("data")))
    preprocessor, embedder = FakePreprocessor(), FakeEmbedder()
    with BackgroundLibrary(settings, embedder, MediaCutter(preprocessor, settings)) as library:
        context = ApiContext(settings=settings, embedder=embedder, preprocessor=preprocessor, library=library)
        server = make_server("127.0.0.1", 0, create_app(context), threaded=True)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield Site(url=f"http://127.0.0.1:{server.port}/", library=library, preprocessor=preprocessor)
        server.shutdown()
        serving.join()
        server.server_close()
        library.finish()


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
def page(site: Site, driver: Chrome) -> Iterator[Page]:
    """The page as someone sees it whose browser prefers English."""
    yield from _fresh(site, driver, "en-US")


@pytest.fixture
def chinese_page(site: Site, driver: Chrome) -> Iterator[Page]:
    """The page as someone sees it whose browser prefers Chinese."""
    yield from _fresh(site, driver, "zh-CN")


def _fresh(site: Site, driver: Chrome, language: str) -> Iterator[Page]:
    seen = Page(driver, site.url)
    seen.prefer(language)
    seen.resize(1280)
    seen.emulate(prefers_color_scheme="light")
    everything = {"origin": site.url, "storageTypes": "cookies,local_storage"}
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", everything)
    seen.complaints()  # those of before are not this test's
    yield seen.open()
