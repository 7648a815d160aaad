"""The real ``openai`` package against a whole server."""

import asyncio
import io
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
from api_fakes import DIMENSIONS, picture
from live import LiveServer, ask, live_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_models(api):
    assert [model.id for model in api.models.list()] == ["colours"]
    assert api.models.retrieve("colours").dimensions == DIMENSIONS
    with pytest.raises(openai.NotFoundError) as caught:
        api.models.retrieve("other")
    assert caught.value.code == "model_not_found"


def test_embeddings_in_the_client_s_own_encoding_and_as_floats(api):
    packed = api.embeddings.create(model="colours", input=["red", "blue"])
    plain = api.embeddings.create(model="colours", input=["red", "blue"], encoding_format="float")
    assert [entry.index for entry in packed.data] == [0, 1]
    assert np.allclose([e.embedding for e in packed.data], [e.embedding for e in plain.data])
    assert packed.usage.total_tokens == 2
    assert len(api.embeddings.create(model="colours", input="red", dimensions=4).data[0].embedding) == 4


def test_what_is_wrong_is_the_client_s_own_exception(api):
    with pytest.raises(openai.BadRequestError) as caught:
        api.embeddings.create(model="colours", input=[[1, 2, 3]])
    assert caught.value.param == "input"
    assert caught.value.body["code"] == "token_ids_not_supported"


def test_files(api):
    kept = api.files.create(file=("红.png", picture("red")), purpose="user_data")
    assert (kept.filename, kept.bytes, kept.status) == ("红.png", len(picture("red")), "processed")
    assert api.files.retrieve(kept.id).id == kept.id
    assert kept.id in [file.id for file in api.files.list()]
    assert api.files.content(kept.id).read() == picture("red")
    assert api.files.delete(kept.id).deleted
    with pytest.raises(openai.NotFoundError):
        api.files.retrieve(kept.id)


def test_a_vector_store_from_beginning_to_end(api):
    store = api.vector_stores.create(name="holiday", metadata={"year": "2024"})
    ids = {}
    for colour in ("red", "green", "blue"):
        kept = api.files.create(file=(f"{colour}.png", picture(colour)), purpose="user_data")
        entry = api.vector_stores.files.create_and_poll(
            kept.id, vector_store_id=store.id, attributes={"colour": colour, "n": len(ids)}
        )
        assert entry.status == "completed"
        ids[colour] = kept.id

    assert api.vector_stores.retrieve(store.id).file_counts.completed == 3
    assert {entry.id for entry in api.vector_stores.files.list(store.id)} == set(ids.values())
    found = list(api.vector_stores.search(store.id, query="green", ranking_options={"score_threshold": 0}))
    assert found[0].file_id == ids["green"]
    assert found[0].filename == "green.png"
    assert found[0].content[0].type == "text"
    assert found[0].media["modality"] == "image"
    filtered = api.vector_stores.search(
        store.id, query="green", filters={"type": "eq", "key": "colour", "value": "blue"}, max_num_results=3
    )
    assert [hit.file_id for hit in filtered] == [ids["blue"]]
    api.vector_stores.files.delete(ids["blue"], vector_store_id=store.id)
    assert api.vector_stores.update(store.id, name="renamed").name == "renamed"
    assert "renamed" in [one.name for one in api.vector_stores.list()]
    assert api.vector_stores.delete(store.id).deleted


def test_a_file_in_a_store_is_read_and_relabelled(api):
    store = api.vector_stores.create(name="read")
    entry = api.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("note.txt", b"the red key lies under the blue pot")
    )
    assert entry.status == "completed"
    (said,) = api.vector_stores.files.content(entry.id, vector_store_id=store.id)
    assert (said.type, said.text) == ("text", "the red key lies under the blue pot")
    changed = api.vector_stores.files.update(entry.id, vector_store_id=store.id, attributes={"kind": "note"})
    assert changed.attributes == {"kind": "note"}
    with pytest.raises(openai.NotFoundError):
        list(api.vector_stores.files.content("file-none", vector_store_id=store.id))


def test_files_are_uploaded_together(api):
    store = api.vector_stores.create(name="together")
    files = [(f"{colour}.png", picture(colour)) for colour in ("red", "green", "blue")]
    batch = api.vector_stores.file_batches.upload_and_poll(vector_store_id=store.id, files=files)
    assert (batch.status, batch.file_counts.completed) == ("completed", 3)
    found = next(
        iter(api.vector_stores.search(store.id, query="green", ranking_options={"score_threshold": 0}))
    )
    assert found.filename == "green.png"


def test_the_asynchronous_client(server):
    async def talk() -> tuple[list[float], list[str], int]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as api:
            answers = await asyncio.gather(
                *(api.embeddings.create(model="colours", input=word) for word in ("red", "red", "blue"))
            )
            store = await api.vector_stores.create(name="async")
            kept = await api.files.create(file=("red.png", picture("red")), purpose="user_data")
            await api.vector_stores.files.create_and_poll(kept.id, vector_store_id=store.id)
            found = [
                hit.file_id
                async for hit in api.vector_stores.search(
                    store.id, query="red", ranking_options={"score_threshold": 0}
                )
            ]
            return [float(a.data[0].embedding[0]) for a in answers], found, found.index(kept.id)

    firsts, found, place = asyncio.run(talk())
    assert firsts[0] == firsts[1] != firsts[2]
    assert (len(found), place) == (1, 0)


def test_many_files_at_once(api):
    store = api.vector_stores.create(name="batch")
    kept = [api.files.create(file=(f"{c}.png", picture(c)), purpose="user_data").id for c in ("red", "blue")]
    broken = api.files.create(file=("x.png", picture("red")[:60]), purpose="user_data").id
    batch = api.vector_stores.file_batches.create_and_poll(
        store.id, file_ids=[*kept, broken], attributes={"kind": "colour"}
    )
    assert (batch.status, batch.file_counts.completed, batch.file_counts.failed) == ("completed", 2, 1)
    assert api.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id).file_counts.total == 3
    walked = api.vector_stores.file_batches.list_files(
        batch.id, vector_store_id=store.id, limit=1, order="asc"
    )
    assert [entry.id for entry in walked] == [*kept, broken]
    failed = api.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="failed")
    assert [entry.id for entry in failed] == [broken]
    assert next(iter(api.vector_stores.search(store.id, query="blue"))).attributes == {"kind": "colour"}
    own = api.vector_stores.file_batches.create(
        store.id, files=[{"file_id": kept[0], "attributes": {"n": 1}}]
    )
    assert api.vector_stores.files.retrieve(kept[0], vector_store_id=store.id).attributes == {"n": 1}
    assert api.vector_stores.file_batches.cancel(own.id, vector_store_id=store.id).status == "cancelled"
    other = api.vector_stores.create(name="other")
    with pytest.raises(openai.NotFoundError):
        api.vector_stores.file_batches.retrieve(batch.id, vector_store_id=other.id)
    with pytest.raises(openai.NotFoundError) as caught:
        api.vector_stores.file_batches.create(store.id, file_ids=[kept[0], "file-none"])
    assert caught.value.param == "file_ids[1]"


def test_pages_are_walked_by_the_client(api):
    store = api.vector_stores.create(name="many")
    for number in range(5):
        kept = api.files.create(file=(f"{number}.txt", f"red {number}".encode()), purpose="assistants")
        api.vector_stores.files.create(file_id=kept.id, vector_store_id=store.id)
    walked = [entry.id for entry in api.vector_stores.files.list(store.id, limit=2, order="asc")]
    assert len(walked) == len(set(walked)) == 5


def test_a_folder_is_indexed_as_a_job(server, api, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture("red"))
    store = api.vector_stores.create(name="folder")
    job = ask(f"{server.url}/v1/vector_stores/{store.id}/folders", "POST", {"path": str(tmp_path)})
    assert job.status == 202
    assert job.json()["type"] == "index_folder"
    assert ask(f"{server.url}/v1/jobs/{job.json()['id']}").json()["status"] == "completed"
    assert job.json()["id"] in [one["id"] for one in ask(f"{server.url}/v1/jobs").json()["data"]]
    hit = next(iter(api.vector_stores.search(store.id, query="red")))
    assert ask(server.url + hit.media["url"]).content == picture("red")
    assert ask(server.url + hit.media["thumbnail_url"]).headers["Content-Type"] == "image/webp"


def test_a_large_upload_without_a_length_is_taken(server):
    boundary = "b0undary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'.encode()

    def body() -> Iterator[bytes]:
        yield head
        yield picture("red", side=400)
        yield f"\r\n--{boundary}--\r\n".encode()

    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = ask(f"{server.url}/v1/embeddings", "POST", body(), kind)
    assert answer.status == 200, answer.content


def test_too_long_a_body_is_413_with_or_without_a_length(server):
    long = b'{"input": "' + b"a" * 300_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    for content in (long, iter([long[:1000], long[1000:]])):
        answer = ask(f"{server.url}/v1/embeddings", "POST", content, headers)
        assert answer.status == 413
        assert answer.json()["error"]["code"] == "too_large"


def test_even_a_much_too_long_upload_reads_its_answer(server):
    block = b"a" * (1 << 20)
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    for headers in (form, {**form, "Content-Length": str(40 << 20)}):
        sent = (block for _ in range(40))
        answer = ask(f"{server.url}/v1/embeddings", "POST", sent, headers)
        assert answer.status == 413
        assert "limits.body_bytes" in answer.json()["error"]["message"]


def test_stalled_bodies_and_readers_cost_their_neighbours_nothing(server):
    address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
    with ExitStack() as stack:
        for number in range(40):  # ten times as many as there are threads
            stalled = stack.enter_context(socket.create_connection(address))
            length = b"Content-Length: 1000" if number % 2 else b"Transfer-Encoding: chunked"
            stalled.sendall(
                b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + length
                + b"\r\n\r\n1\r\n{"
            )
        for _ in range(20):
            assert ask(f"{server.url}/v1/embeddings", "POST", {"input": "red"}).status == 200
        assert ask(f"{server.url}/healthz").status == 200


def test_what_is_not_http_does_no_harm(server):
    address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
    dice = random.Random(3)
    for number in range(300):
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        tails = (
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"Content-Length: -1\r\n\r\n",
            b"Content-Length: 99999999999999999999999\r\n\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
            b"Content-Length: 50\r\n\r\n{",
            dice.randbytes(40),
        )
        with socket.create_connection(address) as connection:
            connection.sendall(dice.randbytes(60) if number % 8 == 7 else head + tails[number % 8])
    assert ask(f"{server.url}/v1/embeddings", "POST", {"input": "red"}).status == 200


def test_curl_uploads_a_picture(server, tmp_path: Path):
    (tmp_path / "cat.png").write_bytes(picture("red"))
    done = subprocess.run(
        ["curl", "-sS", "-F", f"image=@{tmp_path}/cat.png", f"{server.url}/v1/embeddings"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert b'"embedding"' in done.stdout


def test_it_ends_when_told_to(tmp_path: Path):
    with live_server(tmp_path) as running:
        os.kill(running.process.pid, signal.SIGTERM)
        assert running.process.wait(30) == 0
        with pytest.raises(ConnectionError):
            ask(f"{running.url}/healthz")


def test_files_stream_in_ranges(server, api):
    data = picture("red", side=200)
    kept = api.files.create(file=("a.png", io.BytesIO(data)), purpose="user_data")
    part = ask(f"{server.url}/v1/files/{kept.id}/content", headers={"Range": "bytes=10-19"})
    assert part.status == 206
    assert part.content == data[10:20]


def test_a_client_that_leaves_frees_its_place_in_the_engine_s_queue(server: LiveServer):
    def send(words: str) -> socket.socket:
        body = f'{{"input": "{words}"}}'.encode()
        host = urlsplit(server.url).netloc
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        opened = socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port), 30)
        opened.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return opened

    def wait_for(length: int, busy: bool) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            engine = ask(f"{server.url}/healthz").json()["engine"]
            if engine["queue_length"] == length and (engine["busy_seconds"] > 0) == busy:
                return
        raise AssertionError(engine)

    server.model.gate.clear()
    try:
        with send("red red green") as first:
            wait_for(0, busy=True)
            with send("green green blue"):
                wait_for(1, busy=True)
            wait_for(0, busy=True)
            server.model.gate.set()
            assert first.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        server.model.gate.set()
    wait_for(0, busy=False)
    parts = [item.parts[0].arrays for item in server.model.seen]
    tokens = [arrays["token_ids"].tolist() for arrays in parts if "token_ids" in arrays]
    assert [1, 1, 2] in tokens
    assert [2, 2, 3] not in tokens
