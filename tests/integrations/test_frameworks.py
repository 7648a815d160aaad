"""LangChain and LlamaIndex, as their users install them, against a whole server."""

import base64
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from api_fakes import DIMENSIONS, picture
from langchain_core.documents import Document
from langchain_openai import OpenAIEmbeddings
from live import LiveServer, live_server
from llama_index.embeddings.openai import OpenAIEmbedding

from chiasm.errors import ChiasmError
from chiasm.integrations.langchain import ChiasmVectorStore


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("frameworks")) as running:
        yield running


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    """What frameworks would open, and leave open."""
    with httpx.Client(base_url=server.url) as client:
        yield client


def vectors_of(server: LiveServer, *texts: str) -> list[list[float]]:
    answer = httpx.post(f"{server.url}/v1/embeddings", json={"input": texts})
    return [one["embedding"] for one in answer.json()["data"]]


def test_langchain_s_openai_embeddings(server: LiveServer, http: httpx.Client) -> None:
    embeddings = OpenAIEmbeddings(
        model="colours",
        base_url=f"{server.url}/v1",
        api_key="any",
        check_embedding_ctx_length=False,
        http_client=http,
    )
    np.testing.assert_allclose(
        embeddings.embed_documents(["red", "blue"]), vectors_of(server, "red", "blue"), atol=1e-6
    )
    np.testing.assert_allclose(embeddings.embed_query("red"), vectors_of(server, "red")[0], atol=1e-6)


def test_llama_index_s_openai_embedding(server: LiveServer, http: httpx.Client) -> None:
    embedding = OpenAIEmbedding(
        model_name="colours", api_base=f"{server.url}/v1", api_key="any", http_client=http
    )
    found = embedding.get_text_embedding_batch(["red", "blue"])
    np.testing.assert_allclose(found, vectors_of(server, "red", "blue"), atol=1e-6)
    assert len(embedding.get_query_embedding("green")) == DIMENSIONS


@pytest.fixture
def store(http: httpx.Client, request: pytest.FixtureRequest) -> ChiasmVectorStore:
    return ChiasmVectorStore(request.node.name, client=http)


def test_documents_are_kept_found_replaced_and_forgotten(store: ChiasmVectorStore) -> None:
    ids = store.add_documents(
        [
            Document("red", metadata={"year": 2024}, id="r"),
            Document("blue", metadata={"year": 2025}),
            Document("green"),
        ]
    )
    assert ids[0] == "r"
    assert len(set(ids)) == 3
    [(best, score)] = store.similarity_search_with_score("red", k=1)
    assert (best.id, best.page_content, best.metadata["year"]) == ("r", "red", 2024)
    assert 0.5 < score <= 1
    late = store.similarity_search("red", filter={"type": "eq", "key": "year", "value": 2025})
    assert [one.page_content for one in late] == ["blue"]
    assert store.add_texts(["blue"], ids=["r"]) == ["r"]
    assert {one.page_content for one in store.similarity_search("blue", k=9)} == {"blue", "green"}
    assert store.delete(ids)
    assert store.delete(["r", "never was"])
    assert store.similarity_search("red") == []


def test_pictures_are_found_by_words(store: ChiasmVectorStore) -> None:
    store._call(
        "PUT",
        f"{store._path}/items/photo",
        json={"content": {"image": base64.b64encode(picture("red")).decode()}},
    )
    [found] = store.similarity_search("red")
    assert (found.id, found.page_content, found.metadata["media"]["modality"]) == ("photo", "", "image")


def test_it_is_a_retriever_and_knows_diversity(http: httpx.Client) -> None:
    store = ChiasmVectorStore.from_texts(
        ["red", "red red", "blue"], metadatas=[{"n": 1}, {"n": 2}, {"n": 3}], store="chain", client=http
    )
    assert store.as_retriever(search_kwargs={"k": 2}).invoke("red")[0].metadata["n"] in {1, 2}
    scored = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.5, "k": 3}
    )
    assert {one.page_content for one in scored.invoke("red")} <= {"red", "red red"}
    assert len(store.max_marginal_relevance_search("red", k=2, lambda_mult=0.1)) == 2
    again = ChiasmVectorStore("chain", client=http)
    assert again._path == store._path or again.similarity_search("red"), (
        "the store of that name is found again"
    )


def test_what_the_server_refuses_is_raised(store: ChiasmVectorStore) -> None:
    with pytest.raises(ChiasmError, match="attributes"):
        store.add_texts(["red"], [{"nested": {"a": 1}}])
    with pytest.raises(ChiasmError) as caught:
        store.similarity_search("red", filter={"type": "never"})
    assert caught.value.param == "filters.type"


def test_what_is_no_chiasm_is_said() -> None:
    strange = httpx.Client(
        base_url="http://elsewhere", transport=httpx.MockTransport(lambda _request: httpx.Response(502))
    )
    with pytest.raises(ChiasmError, match="expected an answer of chiasm, got 502"):
        ChiasmVectorStore("any", client=strange).similarity_search("red")
