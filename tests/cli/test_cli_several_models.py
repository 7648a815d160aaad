"""``chiasm serve`` with two published models: named, loaded when asked for; a store changes its model."""

import base64
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from hub_server import Hub, serve
from PIL import Image
from published_folders import make

SECONDS = 120


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve(Hub(files={})) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def client(folder: Path, hub: Hub) -> Iterator[openai.OpenAI]:
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
    make("vit", folder / "vit")
    tiny = {p.name: p.read_bytes() for p in (folder / "bert").iterdir()}
    hub.files.update(tiny)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *models],
            stdout=subprocess.PIPE,
            stderr=log,
            env={
                **os.environ,
                "CHIASM_LIBRARY_SAMPLE": "false",
                "HF_ENDPOINT": hub.url,
                "MODEL_HUB_CACHE": str(folder / "cache"),
            },
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


def red() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


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
    body = {"input": {"image": red()}}
    assert client.post("/embeddings", body=body, cast_to=dict[str, object])["data"]
    with pytest.raises(openai.APIStatusError, match="image"):
        client.post("/embeddings", body={**body, "model": "bert"}, cast_to=dict[str, object])


def test_models_are_added_while_the_server_runs(client: openai.OpenAI, folder: Path) -> None:
    def add(**body: str) -> dict[str, object]:
        return client.post("/models", body=body, cast_to=dict[str, object])

    assert add(name="looks", source=str(folder / "vit"))["status"] == "unloaded"
    picture = {"image": red()}
    answer = client.post("/embeddings", body={"input": picture, "model": "looks"}, cast_to=dict[str, object])
    assert answer["model"] == "looks"
    assert standing(client)["looks"] == "loaded"
    with pytest.raises(openai.ConflictError):
        add(name="bert", source=str(folder / "vit"))
    for source in (str(folder / "nothing"), "hf:only-a-name"):
        with pytest.raises(openai.BadRequestError):
            add(source=source)
    client.delete("/models/looks", cast_to=dict[str, object])
    assert "looks" not in standing(client)
    with pytest.raises(openai.NotFoundError):
        client.delete("/models/bert", cast_to=dict[str, object])


def test_a_model_of_a_hub_is_brought_by_a_job(client: openai.OpenAI) -> None:
    offer = client.get("/model_offers?source=hf:owner/tiny", cast_to=dict[str, object])
    assert (offer["licence"], offer["pulled"]) == ("mit", False)
    body = {"name": "brought", "source": "hf:owner/tiny"}
    job = client.post("/models", body=body, cast_to=dict[str, object])
    end = time.monotonic() + SECONDS
    while job["status"] not in {"completed", "failed", "cancelled"}:
        assert time.monotonic() < end
        time.sleep(0.1)
        job = client.get(f"/jobs/{job['id']}", cast_to=dict[str, object])
    assert job["status"] == "completed", job
    assert (job["done"], job["total"]) == (offer["bytes"], offer["bytes"])
    assert len(client.embeddings.create(input="a red apple", model="brought").data[0].embedding) == 24
    assert client.get("/model_offers?source=hf:owner/tiny", cast_to=dict[str, object])["pulled"] is True
    with pytest.raises(openai.APIStatusError, match="no such model"):
        client.get("/model_offers?source=hf:owner/other", cast_to=dict[str, object])
