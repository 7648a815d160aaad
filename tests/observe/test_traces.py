"""Spans of one request, from three processes, at a real OTLP receiver."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from collector import Collector, Received, collector
from watched_server import Watched, watched_server

from chiasm.errors import SettingsError
from chiasm.observe.carried import carrying
from chiasm.observe.traces import Tracer, expect_traceable, tracer_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, receiver: Collector) -> Iterator[Watched]:
    with watched_server(
        tmp_path_factory.mktemp("traced"), CHIASM_SERVER_OTLP_ENDPOINT=receiver.url
    ) as running:
        yield running


def spans(server: Watched, receiver: Collector, names: set[str], **wanted: str) -> dict[str, Received]:
    """Those of one trace, by name, once all ``names`` are there."""

    def found() -> dict[str, Received]:
        mine = {s.name: s for s in receiver.spans if all(getattr(s, k) == v for k, v in wanted.items())}
        return mine if names <= set(mine) else {}

    return server.until(found)


def test_a_search_is_one_trace_through_all_processes(server: Watched, receiver: Collector):
    store = server.json("/v1/vector_stores", {"name": "traced"})["id"]
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-Id": "trace-me"}
    picture = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8Dw"
        "HwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
    )
    path = f"/v1/vector_stores/{store}/search"
    status, answer = server.ask(path, {"query": {"image": picture}}, headers)
    assert status == 200, answer
    route = "POST /v1/vector_stores/{store_id}/search"
    names = {route, "prepare", "decode", "engine", "queue", "inference", "library search"}
    mine = spans(server, receiver, names, trace=TRACE)
    assert mine[route].parent == CALLER
    parents = {
        "prepare": route,
        "decode": "prepare",
        "engine": route,
        "queue": "engine",
        "inference": "engine",
        "library search": route,
    }
    assert {name: mine[name].parent for name in parents} == {n: mine[p].id for n, p in parents.items()}
    processes = {"queue": "engine", "inference": "engine", "library search": "library", "decode": "web"}
    assert {name: mine[name].process for name in processes} == processes
    for name, parent in parents.items():
        assert mine[parent].begun - 5_000_000 <= mine[name].begun <= mine[name].ended
    assert mine[route].attributes["http.response.status_code"] == 200
    assert mine[route].attributes["http.route"] == "/v1/vector_stores/{store_id}/search"
    assert {span.attributes["chiasm.request_id"] for span in mine.values()} == {"trace-me"}


def test_a_request_without_a_parent_begins_a_trace(server: Watched, receiver: Collector):
    assert server.ask("/v1/embeddings", {"input": "boat"}, {"traceparent": "00-nonsense"})[0] == 200
    mine = spans(server, receiver, {"POST /v1/embeddings"}, parent="")
    assert len(mine["POST /v1/embeddings"].trace) == 32


def test_what_the_caller_does_not_sample_is_not_sent(server: Watched, receiver: Collector):
    other = "a" * 32
    assert server.ask("/v1/models", headers={"traceparent": f"00-{other}-{CALLER}-00"})[0] == 200
    assert server.ask("/v1/models", headers={"traceparent": f"00-{'b' * 32}-{CALLER}-01"})[0] == 200
    spans(server, receiver, {"GET /v1/models"}, trace="b" * 32)
    assert [span for span in receiver.spans if span.trace == other] == []


def test_switched_off_it_imports_nothing_and_makes_nothing():
    tracer = tracer_of("", "web")
    assert type(tracer) is Tracer
    assert tracer.span("one") is tracer.span("another")
    code = "import sys, chiasm.observe.telemetry, chiasm.api; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_address_that_is_none_is_refused_at_the_start(tmp_path: Path):
    with pytest.raises(SettingsError, match="otlp_endpoint: expected an http"):
        expect_traceable("collector:4318")


def test_spans_of_one_process_nest(receiver: Collector):
    tracer = tracer_of(receiver.url, "here")
    with carrying({"request_id": "r-1"}), tracer.span("outer") as outer:
        outer.set("number", 3)
        with tracer.span("inner"):
            pass
    tracer.close()
    mine = {span.name: span for span in receiver.spans if span.process == "here"}
    assert mine["inner"].parent == mine["outer"].id
    assert mine["outer"].attributes == {"chiasm.request_id": "r-1", "number": 3}
