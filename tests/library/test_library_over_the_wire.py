"""The library behind an rpc server, with its jobs, as the library process has it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from library_fakes import FakeEmbedder, cutter, put_item, settings_for, vector_of

from chiasm.errors import ChiasmError, InvalidInput, NotFound
from chiasm.jobs.client import JobsClient
from chiasm.jobs.runner import JobRunner
from chiasm.library import Library, LibraryClient
from chiasm.library.server import handlers
from chiasm.library.work import job_functions
from chiasm.serving.addresses import ipc_address, make_private_folder
from chiasm.serving.rpc import RpcServer


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibraryClient]:
    data = tmp_path_factory.mktemp("wire")
    sockets = make_private_folder()
    address = ipc_address(sockets, "library")
    with (
        Library(settings_for(data), FakeEmbedder(), cutter) as library,
        JobRunner(data, job_functions(library)),
        JobsClient(data) as jobs,
        RpcServer(address, handlers(library, jobs)),
        LibraryClient(address) as opened,
    ):
        yield opened
    for path in sockets.iterdir():
        path.unlink()
    sockets.rmdir()


def test_files_go_in_are_found_and_come_out(client: LibraryClient, folder: Path) -> None:
    store = client.create_store("files", attributes={"k": 1}).store
    assert client.get_store("files").store == store
    entry = client.add_file("files", b"red apple on a table", "apple.txt", {"year": 2024})
    client.add_file("files", folder / "boat.txt")
    hit = client.search("files", vector_of("apple"), "text")[0]
    assert (hit.name, hit.snippet, hit.attributes) == ("apple.txt", "red apple on a table", {"year": 2024})
    assert [h.name for h in client.search_like("files", entry.file.id)] == ["boat.txt"]
    assert client.path_of(entry.file.id).read_bytes() == b"red apple on a table"
    assert len(client.segments("files", entry.file.id)) == 1
    assert client.set_attributes("files", entry.file.id, {"liked": True}).attributes == {"liked": True}
    assert [e.file.name for e in client.list_files("files", order="asc").data] == ["apple.txt", "boat.txt"]
    client.remove_file("files", entry.file.id)
    assert [h.name for h in client.search("files", vector_of("apple"), "text")] == ["boat.txt"]
    assert client.delete_store("files") == store.id
    assert client.find_store("files") is None


def test_uploads_are_indexed_by_a_job(client: LibraryClient) -> None:
    client.create_store("uploads")
    ids = [client.upload_file(f"number {n}".encode(), f"{n}.txt").id for n in range(3)]
    assert client.get_file(ids[0]).name == "0.txt"
    client.attach_files("uploads", ids, attributes={"a": 1})
    entries = client.add_files("uploads", ids)
    assert [(e.status, e.attributes) for e in entries] == [("completed", {"a": 1})] * 3
    client.delete_file(ids[0])
    with pytest.raises(NotFound):
        client.get_file(ids[0])


def test_a_folder_is_followed_by_a_job_and_reported_alike(client: LibraryClient, folder: Path) -> None:
    client.create_store("folder")
    (folder / "bad.png").write_text("BAD")
    told: list[tuple[int, int]] = []
    report = client.index_folder("folder", folder, lambda done, total: told.append((done, total)))
    assert (report.added, [Path(p.path).name for p in report.failed]) == (3, ["bad.png"])
    assert told[-1] == (4, 4)
    job = client.list_jobs(limit=1)[0]
    assert (job.name, job.status, job.result["added"]) == ("index_folder", "completed", 3)
    assert client.get_job(job.id) == job
    client.delete_job(job.id)
    with pytest.raises(NotFound):
        client.get_job(job.id)


def test_a_job_that_fails_is_an_error_here(client: LibraryClient, tmp_path: Path) -> None:
    client.create_store("nothing")
    with pytest.raises(ChiasmError, match="folder") as caught:
        client.index_folder("nothing", tmp_path / "nowhere")
    assert caught.value.code == "not_found"


def test_items_travel_with_their_vectors(client: LibraryClient) -> None:
    client.ensure_store("items")
    put_item(client, "items", vector_of("apple"), item_id="a", attributes={"year": 1})
    queries = np.stack([vector_of("apple"), vector_of("boat")])
    filters = {"type": "eq", "key": "year", "value": 1}
    (hit,) = client.search("items", queries, "text", filters=filters, limit=5)
    assert (hit.item_id, hit.cosine) == ("a", pytest.approx(1.0, abs=2e-3))


def test_errors_cross_as_what_they_are(client: LibraryClient) -> None:
    with pytest.raises(NotFound) as caught:
        client.get_store("nobody")
    assert "没有" in caught.value.zh
    client.ensure_store("items")
    with pytest.raises(InvalidInput):
        client.search("items", vector_of("x"), "smell")
    with pytest.raises(InvalidInput, match="list_stores"):
        client.list_stores(colour="red")
