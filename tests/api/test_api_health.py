"""/healthz and /readyz tell the truth."""

from dataclasses import dataclass, replace

import pytest
from api_fakes import Absent, ColourModel, context_of, settings_for

from chiasm.api import create_app
from chiasm.errors import DeadlineExceeded, Overloaded

GONE = Overloaded("the engine is not there yet; try again", "引擎尚未就绪", code="engine_unavailable")


@dataclass
class Status:
    stuck: bool = False
    draining: bool = False
    uptime: float = 12.0
    queue_length: int = 3
    busy_seconds: float = 0.5


class WithStatus(ColourModel):
    """The engine's client, as far as health goes."""

    answer: Status | Exception = Status()

    def status(self) -> Status:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def context(tmp_path):
    made, library = context_of(settings_for(tmp_path / "data"), ColourModel())
    yield made
    library.close()


def ask(context, path: str, **changes):
    return create_app(replace(context, **changes)).test_client().get(path)


def test_all_is_well(context):
    health = ask(context, "/healthz")
    assert health.status_code == 200
    assert health.json["status"] == "ok"
    assert health.json["engine"]["model"] == "colours"
    assert ask(context, "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("answer", "engine"),
    [
        (Status(stuck=True), "stuck"),
        (Status(draining=True), "draining"),
        (DeadlineExceeded("no answer", "没有答复"), "unavailable"),
        (GONE, "unavailable"),
    ],
)
def test_an_engine_that_cannot_work_is_not_healthy(context, answer, engine):
    embedder = WithStatus()
    embedder.answer = answer
    for path in ("/healthz", "/readyz"):
        response = ask(context, path, embedder=embedder)
        assert response.status_code == 503
        assert response.json["engine"]["status"] == engine
        assert response.headers["Retry-After"]


def test_a_working_engine_says_how_busy_it_is(context):
    found = ask(context, "/healthz", embedder=WithStatus()).json["engine"]
    assert found["status"] == "ok"
    assert found["queue_length"] == 3


def test_without_an_engine_it_is_neither_healthy_nor_ready(context):
    absent = Absent(GONE)
    assert ask(context, "/healthz", embedder=absent).json["engine"]["code"] == "engine_unavailable"
    assert ask(context, "/readyz", embedder=absent).status_code == 503
    response = ask(context, "/v1/models", embedder=absent)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"


def test_without_a_library_it_is_ready_but_not_healthy(context):
    absent = Absent(Overloaded("gone", "不在", code="library_unavailable"))
    assert ask(context, "/healthz", library=absent).json["library"]["status"] == "unavailable"
    assert ask(context, "/readyz", library=absent).status_code == 200
