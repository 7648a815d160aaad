"""``chiasm serve`` with two published models: named, loaded when asked for; a store changes its model."""

import base64
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import openai
import pytest
from PIL import Image
from published_folders import make

SECONDS = 120


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("several")
    for kind in ("clip", "bert"):
        make(kind, folder / kind)
    command = [
        sys.executable,
        "-m",
        "chiasm",
        "serve",
        "--port",
        "0",
        "--json",
        "--data-dir",
        str(folder / "data"),
    ]
    models = ["--model", f"pairs={folder / 'clip'}", "--model", f"{folder / 'bert'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *models],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "CHIASM_LIBRARY_SAMPLE": "false"},
        )
    assert process.stdout is not None
    with openai.OpenAI(
        base_url=json.loads(process.stdout.readline())["url"] + "/v1", api_key="none"
    ) as client:
        end = time.monotonic() + SECONDS
        while True:
            try:
                client.models.list()
                break
            except openai.APIError:
                assert time.monotonic() < end, (folder / "log").read_text()[-3000:]
                time.sleep(0.2)
        yield client
    process.terminate()
    process.wait(60)
    process.stdout.close()


def standing(client: openai.OpenAI) -> dict[str, str]:
    return {model.id: model.status for model in client.models.list()}  # type: ignore[attr-defined]


def test_each_model_answers_by_its_name(client: openai.OpenAI) -> None:
    assert standing(client) == {"pairs": "loaded", "bert": "unloaded"}

    def width(model: str) -> int:
        return len(client.embeddings.create(input="a red apple", model=model).data[0].embedding)

    assert [width(name) for name in ("pairs", "default", "bert")] == [16, 16, 24]
    assert standing(client) == {"pairs": "loaded", "bert": "loaded"}
    assert client.models.retrieve("bert").dimensions == 24  # type: ignore[attr-defined]
    with pytest.raises(openai.NotFoundError, match="this server has pairs, bert"):
        width("nobody")


def found(client: openai.OpenAI, store: str) -> list[str]:
    page = client.vector_stores.search(store, query="note number 7", ranking_options={"score_threshold": 0})
    return [hit.filename for hit in page]


def test_a_store_changes_its_model(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="notes")
    for number in range(12):
        client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=(f"{number}.txt", f"note number {number}".encode())
        )
    assert found(client, store.id)[0] == "7.txt"
    before = client.vector_stores.retrieve(store.id)
    job = client.post(f"/vector_stores/{store.id}/reembed", body={"model": "bert"}, cast_to=dict[str, object])
    end = time.monotonic() + SECONDS
    while job["status"] not in {"completed", "failed", "cancelled"}:
        assert time.monotonic() < end
        assert found(client, store.id)[0] == "7.txt"
        job = client.get(f"/jobs/{job['id']}", cast_to=dict[str, object])
    assert (job["status"], job["result"]["changed"]) == ("completed", 12)  # type: ignore[index]
    after = client.vector_stores.retrieve(store.id)
    assert (after.model, after.dimensions) == ("bert", 24)  # type: ignore[attr-defined]
    assert after.file_counts == before.file_counts
    assert found(client, store.id)[0] == "7.txt"
    client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("late.txt", b"a late guest"))
    assert client.vector_stores.retrieve(store.id).file_counts.completed == 13
    with pytest.raises(openai.ConflictError):
        client.vector_stores.search(store.id, query="x", extra_body={"model": "pairs"})


def test_a_store_may_begin_with_another_model(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="words", extra_body={"model": "bert"})
    body = {"content": "a late guest"}
    client.put(f"/vector_stores/{store.id}/items/one", body=body, cast_to=dict[str, object])
    assert client.vector_stores.retrieve(store.id).dimensions == 24  # type: ignore[attr-defined]
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.create(name="words", extra_body={"model": "nobody"})


def test_what_a_model_cannot_take_is_said(client: openai.OpenAI) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, "PNG")
    body = {"input": {"image": base64.b64encode(buffer.getvalue()).decode()}}
    assert client.post("/embeddings", body=body, cast_to=dict[str, object])["data"]
    with pytest.raises(openai.APIStatusError, match="image"):
        client.post("/embeddings", body={**body, "model": "bert"}, cast_to=dict[str, object])
