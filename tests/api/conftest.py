import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).parent))

from api_fakes import ColourModel, context_of, describe, settings_for

from chiasm.api import create_app
from chiasm.settings import Settings


@pytest.fixture(scope="module")
def shared_model() -> ColourModel:
    return ColourModel()


@pytest.fixture
def model(shared_model: ColourModel) -> ColourModel:
    """The model behind ``client``, as new."""
    shared_model.failure = None
    shared_model.description = describe()
    shared_model.seen.clear()
    return shared_model


@pytest.fixture(scope="module")
def shared_app(tmp_path_factory: pytest.TempPathFactory, shared_model: ColourModel) -> Iterator[Flask]:
    """One library for a module: opening one syncs the disk."""
    context, library = context_of(settings_for(tmp_path_factory.mktemp("api") / "data"), shared_model)
    with library:
        yield create_app(context)


@pytest.fixture
def app(shared_app: Flask, model: ColourModel) -> Flask:
    return shared_app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def make_app() -> Iterator[Callable[[Settings], Flask]]:
    """Makes an application with other settings over a library of its own."""
    opened = []

    def make(settings: Settings) -> Flask:
        context, library = context_of(settings, ColourModel())
        opened.append(library)
        return create_app(context)

    yield make
    for library in opened:
        library.close()
