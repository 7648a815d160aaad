"""The server under test, and a browser that has never seen it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from browser_fakes import BackgroundLibrary, FakeEmbedder, FakePreprocessor, Site
from page_reader import Page
from selenium.webdriver import Chrome
from werkzeug.serving import make_server

from chiasm.api.app import create_app
from chiasm.api.context import ApiContext
from chiasm.library.cutting import MediaCutter
from chiasm.library.makers import Maker
from chiasm.preprocess.late import ServedModel
from chiasm.serving.registry import Live, Registry
from chiasm.settings import LibrarySettings, NamedSource, Settings
from chiasm.stores import Keys


@contextmanager
def serving(data_dir: Path, keys: Keys | None = None) -> Iterator[Site]:
    """A server of this data directory."""
    settings = replace(Settings(), library=LibrarySettings(data_dir=data_dir))
    preprocessor, embedder = FakePreprocessor(), FakeEmbedder()
    cutter, registry = MediaCutter(preprocessor, settings), Registry(settings)

    def served(one: NamedSource) -> ServedModel:
        return ServedModel(embedder=FakeEmbedder(one.name), preprocessor=preprocessor)

    def maker(name: str) -> Maker | None:
        known = name in registry.sources()
        other = FakeEmbedder(name)
        return Maker(embedder=other, cutter=cutter, preprocessor=preprocessor) if known else None

    with BackgroundLibrary(
        settings, embedder, cutter, preprocessor=preprocessor, others=maker, registry=registry
    ) as library:
        context = ApiContext(
            settings=settings,
            embedder=embedder,
            preprocessor=preprocessor,
            library=library,
            keys=keys,
            registry=registry,
            others=Live(registry, served),
        )
        server = make_server("127.0.0.1", 0, create_app(context), threaded=True)
        answering = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        answering.start()
        yield Site(url=f"http://127.0.0.1:{server.port}/", library=library, preprocessor=preprocessor)
        server.shutdown()
        answering.join()
        server.server_close()
        library.finish()


def fresh(site: Site, driver: Chrome, language: str) -> Page:
    """A page that nobody has opened before."""
    seen = Page(driver, site.url)
    seen.prefer(language)
    seen.resize(1280)
    seen.emulate(prefers_color_scheme="light")
    everything = {"origin": site.url, "storageTypes": "cookies,local_storage"}
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", everything)
    seen.complaints()  # those of before are not this test's
    return seen
