"""A store of a chiasm server as LangChain's vector store: extra ``langchain``.

The server embeds and searches, so that no embedding class is needed; a search finds pictures, sounds and
clips of the store as well as texts.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Self
from urllib.parse import quote

import httpx
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from chiasm.errors import ChiasmError

TIMEOUT = 120.0  # seconds
_MOST_HITS = 50  # of one search: OpenAI's bound


class ChiasmVectorStore(VectorStore):
    """A store of a server, which is made if there is none of that name.

    Documents are items of the store: their metadata are its attributes (at most 16 strings, numbers or truth
    values), by which ``filter`` goes, in the server's own form. Scores are probabilities of relevance.

    Args:
        store: its name or id.
        url: of the server.
        api_key: needed if the server has keys.
        client: to be used instead of a new one; ``url`` and ``api_key`` are then its business.
    """

    def __init__(
        self,
        store: str,
        *,
        url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._client = client or httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT)
        self._path = f"/v1/vector_stores/{quote(store, safe='')}"
        if self._client.get(self._path).status_code == httpx.codes.NOT_FOUND:
            made = self._call("POST", "/v1/vector_stores", json={"name": store})
            self._path = f"/v1/vector_stores/{made['id']}"

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **_options: Any,
    ) -> list[str]:
        """Keep texts; those whose ids are there are replaced.

        Returns:
            Their ids.

        Raises:
            ChiasmError: one could not be kept; those before it are.
        """
        items = [
            {"content": text}
            | ({"attributes": metadatas[i]} if metadatas and metadatas[i] else {})
            | ({"id": ids[i]} if ids and ids[i] else {})
            for i, text in enumerate(texts)
        ]
        body = b"\n".join(json.dumps(item).encode() for item in items)
        kept: list[str] = []
        line: int | None = 1 if items else None
        while line is not None:
            answer = self._call(
                "POST",
                f"{self._path}/items",
                content=body,
                headers={"Content-Type": "application/x-ndjson"},
                params={"first_line": line},
            )
            for result in answer["data"]:
                if result["error"] is not None:
                    problem = result["error"]
                    raise ChiasmError(problem["message"], problem["message"], code=problem["code"])
                kept.append(result["id"])
            line = answer["next_line"]
        return kept

    def delete(self, ids: list[str] | None = None, **_options: Any) -> bool:
        """Forget documents; unknown ids are ignored. Without ids nothing happens."""
        for one in ids or ():
            answer = self._client.delete(f"{self._path}/items/{quote(one, safe='')}")
            if answer.status_code != httpx.codes.NOT_FOUND:
                _checked(answer)
        return bool(ids)

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: object = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """The ``k`` that fit best, with the probability that each is what was looked for.

        Args:
            filter: as the server's ``filters``. options: other fields of a search, such as ``diversity``.
        """
        wanted = {
            "query": query,
            "max_num_results": min(k, _MOST_HITS),
            "ranking_options": {"score_threshold": 0.0},
            **({} if filter is None else {"filters": filter}),
            **options,
        }
        found = self._call("POST", f"{self._path}/search", json=wanted)["data"]
        return [(_document(hit), float(hit["score"])) for hit in found]

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """The ``k`` that fit best."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """The ``k`` that fit and differ; the server chooses among more than ``fetch_k``."""
        return self.similarity_search(query, k, diversity=1.0 - lambda_mult, **options)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        store: str = "langchain",
        **options: Any,
    ) -> Self:
        """A store with these texts. The server embeds them: ``embedding`` is not used."""
        made = cls(store, **options)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: score  # probabilities already

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return _checked(self._client.request(method, path, **options)).json()


def _document(hit: dict[str, Any]) -> Document:
    media = hit["media"]
    about = {
        key: media[key]
        for key in ("modality", "url", "start", "end", "page", "box")
        if media[key] is not None
    }
    return Document(
        id=media["item_id"] or hit["file_id"],
        page_content="\n".join(part["text"] for part in hit["content"]),
        metadata={**hit["attributes"], "media": {"filename": hit["filename"], **about}},
    )


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a good one."""
    if answer.is_error:
        try:
            problem = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            problem = {
                "message": f"expected an answer of chiasm, got {answer.status_code}",
                "code": "no_answer",
            }
        raise ChiasmError(
            problem["message"], problem["message"], code=problem["code"], param=problem.get("param")
        )
    return answer
