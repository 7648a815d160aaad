"""/metrics, the log and the events of jobs, of a whole server with two web workers."""

import base64
import http.client
import io
import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from watched_server import Watched, watched_server

from chiasm.observe.metrics import Metrics

EMBEDDINGS = "chiasm_http_requests_total"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_server(
        tmp_path_factory.mktemp("watched"), "--workers", "2", CHIASM_SERVER_LOG_FORMAT="json"
    ) as running:
        yield running


def embed(server: Watched, text: object, request_id: str | None = None) -> int:
    headers = {"X-Request-Id": request_id} if request_id else {}
    return server.ask("/v1/embeddings", {"input": text}, headers)[0]


def workers_of(server: Watched) -> set[int]:
    return {line["pid"] for line in server.lines() if line["process"] == "web" and "route" in line}


def test_every_request_is_counted_whichever_worker_had_it(server: Watched):
    before = server.figure(EMBEDDINGS, route="/v1/embeddings")
    count = 0
    while count < 400 and (count < 20 or len(workers_of(server)) < 2):
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda n: embed(server, f"apple {n}"), range(20))) == {200}
        count += 20
    assert len(workers_of(server)) == 2
    seen = [server.figure(EMBEDDINGS, route="/v1/embeddings") - before for _ in range(8)]
    assert seen == [count] * 8
    name = "chiasm_http_request_duration_seconds_count"
    assert server.figure(name, route="/v1/embeddings") == server.figure(EMBEDDINGS, route="/v1/embeddings")


def test_counters_never_go_back_from_scrape_to_scrape(server: Watched):
    last: dict = {}
    for n in range(12):
        embed(server, f"boat {n}")
        found = server.figures()
        for key, value in last.items():
            if key[0].endswith(("_total", "_count", "_sum", "_bucket")):
                assert found[key] >= value, key
        last = found


def test_what_the_model_computed_by_modality(server: Watched):
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 0, 0)).save(picture, "PNG")
    url = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
    names = ("chiasm_processed_items_total", "chiasm_batch_items_count", "chiasm_inference_seconds_count")
    kinds = {"model": "fake", "modality": "image"}
    before = {name: server.figure(name, **kinds) for name in names}
    misses, hits = (f"chiasm_cache_{kind}_total" for kind in ("misses", "hits"))
    known = server.figure(misses, **kinds), server.figure(hits, **kinds)
    for _ in range(3):
        assert embed(server, {"image": url}) == 200
    assert {name: server.figure(name, **kinds) - before[name] for name in names} == dict.fromkeys(names, 1)
    assert server.figure(misses, **kinds) - known[0] == 1
    assert server.figure(hits, **kinds) - known[1] == 2
    assert server.figure("chiasm_processed_pixels_total", **kinds) > 0
    assert server.figure("chiasm_decode_seconds_count", modality="image") == 3
    tokens = server.figure("chiasm_processed_tokens_total", modality="text")
    assert embed(server, "red green apple on the sea") == 200
    assert server.figure("chiasm_processed_tokens_total", modality="text") - tokens == 6


def test_the_figures_of_the_moment(server: Watched):
    store = server.json("/v1/vector_stores", {"name": "counted"})["id"]
    body = {"content": ["red apple"], "attributes": {}}
    assert server.ask(f"/v1/vector_stores/{store}/items/one", body, method="PUT")[0] < 300
    assert server.until(lambda: server.figure("chiasm_library_items", store=store, modality="text")) == 1
    assert server.figure("chiasm_up", process="engine") == 1
    assert server.figure("chiasm_up", process="library") == 1
    assert server.figure("chiasm_queue_items") == 0
    for process in ("engine", "library", "web"):
        assert server.figure("chiasm_process_resident_memory_bytes", process=process) > 10_000_000
    assert server.figure("chiasm_model_info", model="fake", revision="r1", backend="numpy") == 1


def test_the_newer_format_is_there_for_those_who_ask(server: Watched):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    status, text = server.ask("/metrics", headers=accept)
    assert status == 200
    names = {family.name for family in openmetrics(text.decode())}
    assert {"chiasm_http_requests", "chiasm_queue_seconds", "chiasm_up"} <= names


def families(text: bytes) -> set[str]:
    named = {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")}
    return {name for name in named if not name.endswith("_created")}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_served_is_what_is_documented(server: Watched, language: str):
    embed(server, "train")
    text = (DOCS / language / "metrics.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^\| `(chiasm_\w+)`", text, re.MULTILINE))
    served = families(server.ask("/metrics")[1])
    assert len(served) > 20
    assert served | families(generate_latest(Metrics().registry)) == written


def test_made_up_addresses_and_methods_are_no_labels(server: Watched):
    for n in range(5):
        server.ask(f"/made-up-{n}")
        server.ask("/v1/models", method=f"BREW{n}")
    labels = [dict(has) for name, has in server.figures() if name == EMBEDDINGS]
    assert not any("made-up" in one["route"] or "BREW" in one["method"] for one in labels)
    assert server.figure(EMBEDDINGS, route="unmatched", status="404") >= 5
    assert server.figure(EMBEDDINGS, method="other") >= 5


def test_one_request_can_be_followed_through_all_processes(server: Watched):
    store = server.json("/v1/vector_stores", {"name": "followed"})["id"]
    headers = {"X-Request-Id": "follow-me.1"}
    assert server.ask(f"/v1/vector_stores/{store}/search", {"query": "secret boat"}, headers)[0] == 200
    mine = [line for line in server.lines() if line.get("request_id") == "follow-me.1"]
    assert {line["process"] for line in mine} == {"web", "engine", "library"}
    [answer] = [line for line in mine if "route" in line]
    assert (answer["route"], answer["status"]) == ("/v1/vector_stores/{store_id}/search", 200)
    assert answer["ms"] > 0
    assert "secret" not in server.log.read_text(encoding="utf-8")


def test_a_failure_is_logged_with_its_code_and_one_line_only(server: Watched):
    assert server.ask("/v1/embeddings", {"input": []}, {"X-Request-Id": "wrong-1"})[0] == 400
    [line] = [line for line in server.lines() if line.get("request_id") == "wrong-1"]
    assert (line["status"], line["code"], line["method"]) == (400, "invalid_value", "POST")


def test_probes_leave_no_lines(server: Watched):
    for path in ("/healthz", "/readyz", "/metrics"):
        server.ask(path, headers={"X-Request-Id": "probe-1"})
    assert [line for line in server.lines() if line.get("request_id") == "probe-1"] == []


def test_the_engine_starts_again_and_no_counter_is_lost(server: Watched):
    assert embed(server, "bread") == 200
    name = "chiasm_processed_items_total"
    before, restarts = server.figure(name), server.figure("chiasm_process_restarts_total", process="engine")
    [started] = [s for s in server.lines() if s.get("message", "").startswith("engine: started")]
    os.kill(int(started["message"].split()[-1]), signal.SIGKILL)
    server.until(
        lambda: (
            server.figure("chiasm_process_restarts_total", process="engine") == restarts + 1
            and server.figure("chiasm_up", process="engine")
        )
    )
    assert server.figure(name) == before
    assert server.until(lambda: embed(server, "bread") == 200)
    assert server.figure(name) == before + 1


def events_of(server: Watched, path: str, last: str = "") -> tuple[int, list[tuple[str, str, dict]]]:
    """(status, [(id, event, data)]) of a stream, read to its end."""
    status, text = server.ask(path, headers={"Last-Event-ID": last} if last else {})
    found = []
    for block in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return status, found


def start_job(server: Watched, tmp_path: Path, files: int) -> str:
    for n in range(files):
        (tmp_path / f"{n}.txt").write_text(f"red apple {n}")
    store = server.json("/v1/vector_stores", {"name": "followed"})["id"]
    return server.json(f"/v1/vector_stores/{store}/folders", {"path": str(tmp_path)})["id"]


def test_a_job_tells_of_its_progress_and_its_end(server: Watched, tmp_path: Path):
    job = start_job(server, tmp_path, 30)
    status, found = events_of(server, f"/v1/jobs/{job}/events")
    assert status == 200
    assert found[-1][1] == "end"
    assert found[-1][2]["status"] == "completed"
    assert {name for _, name, _ in found[:-1]} <= {"progress"}
    assert len({identity for identity, _, _ in found}) == len(found)
    assert [data["done"] for _, _, data in found] == sorted(data["done"] for _, _, data in found)

    again, none = events_of(server, f"/v1/jobs/{job}/events", last=found[-1][0])
    assert (again, none) == (204, [])
    status, once = events_of(server, f"/v1/jobs/{job}/events", last="running:1:30")
    assert [name for _, name, _ in once] == ["end"]


def test_a_job_that_is_over_is_forgotten_by_delete(server: Watched, tmp_path: Path):
    job = start_job(server, tmp_path, 1)
    events_of(server, f"/v1/jobs/{job}/events")
    assert server.json(f"/v1/jobs/{job}", method="DELETE") == {"id": job, "object": "job", "deleted": True}
    assert server.ask(f"/v1/jobs/{job}")[0] == 404
    assert server.ask(f"/v1/jobs/{job}/events")[0] == 404


def test_readers_hold_no_threads_and_their_number_is_bounded(tmp_path: Path):
    with watched_server(tmp_path, CHIASM_SERVER_THREADS="1", CHIASM_LIMITS_EVENT_STREAMS="3") as server:
        media = tmp_path / "media"
        media.mkdir()
        for n in range(400):
            (media / f"{n}.txt").write_text(f"boat on the sea {n} " * 2000)
        store = server.json("/v1/vector_stores", {"name": "long"})["id"]
        job = server.json(f"/v1/vector_stores/{store}/folders", {"path": str(media)})["id"]
        where = urlsplit(server.url)
        readers = []
        for _ in range(3):
            reader = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
            reader.request("GET", f"/v1/jobs/{job}/events")
            answer = reader.getresponse()
            assert answer.status == 200
            assert answer.readline().startswith(b"retry:")
            readers.append((reader, answer))
        status, refused = server.ask(f"/v1/jobs/{job}/events")
        assert (status, json.loads(refused)["error"]["code"]) == (503, "too_many_streams")
        assert server.figure("chiasm_http_rejected_total", reason="too_many_streams") == 1
        assert server.ask("/v1/models")[0] == 200  # with one thread and three readers
        for reader, answer in readers:
            answer.close()
            reader.close()

        def free() -> bool:
            reader = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
            reader.request("GET", f"/v1/jobs/{job}/events")
            found = reader.getresponse().status
            reader.close()
            return found in {200, 204}

        assert server.until(free)

        last = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
        last.request("GET", f"/v1/jobs/{job}/events")
        stream = last.getresponse()
        assert stream.status == 200
        server.process.terminate()
        assert b"event: end" not in stream.read()  # it ends, since the server does: the job goes on later
        last.close()
        server.process.wait(60)
        assert "web: did not end" not in server.log.read_text(encoding="utf-8")
