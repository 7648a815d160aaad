"""``chiasm index`` and ``chiasm search`` in this process, with a model that knows a few words."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_fakes import FakeModel, picture

from document_files import docx, pdf, placed

pytestmark = pytest.mark.usefixtures("fake_model")


def names(hits) -> list[str]:
    return [hit["name"] for hit in hits]


def test_index_tells_what_it_did_and_which_files_it_could_not_read(run_json, notes: Path):
    code, report = run_json("index", str(notes))
    assert code == 0
    assert (report["added"], report["unchanged"]) == (3, 0)
    assert [Path(problem["path"]).name for problem in report["failed"]] == ["broken.png"]


def test_indexing_again_follows_the_folder(run_json, notes: Path):
    run_json("index", str(notes))
    (notes / "bread.md").unlink()
    (notes / "boat.txt").rename(notes / "ship.txt")
    (notes / "train.txt").write_text("the train")
    code, report = run_json("index", str(notes))
    assert code == 0
    assert (report["added"], report["moved"], report["removed"]) == (1, 1, 1)


def test_words_find_a_note_and_where_it_lies(run_json, notes: Path):
    run_json("index", str(notes))
    code, hits = run_json("search", "boat on the sea", "--threshold", "0")
    assert code == 0
    assert names(hits)[0] == "boat.txt"
    assert hits[0]["path"] == str(notes / "boat.txt")
    assert hits[0]["snippet"] == "a boat on the sea"


def test_a_picture_finds_pictures_of_its_colour(run_json, notes: Path, tmp_path: Path):
    picture(notes / "green.png", (10, 200, 10))
    run_json("index", str(notes))
    mine = picture(tmp_path / "mine.png", (250, 0, 0))
    _, hits = run_json("search", "--file", str(mine), "--threshold", "0", "--modality", "image")
    assert names(hits)[0] == "red.png"


def test_a_query_that_names_an_existing_file_is_searched_by_its_content(run, notes: Path, tmp_path: Path):
    run("index", str(notes))
    picture(tmp_path / "mine.png", (250, 0, 0))
    code, out, err = run("search", "mine.png", "--threshold", "0", "--modality", "image")
    assert code == 0
    assert "red.png" in out
    assert "content of mine.png" in err


@pytest.mark.parametrize(("query", "more"), [("boat", []), ("boat.txt", ["--text"]), ("missing.txt", [])])
def test_words_stay_words(run, notes: Path, tmp_path: Path, query: str, more: list[str]):
    run("index", str(notes))
    for name in ("boat", "boat.txt"):
        (tmp_path / name).write_text("bread")
    code, _, err = run("search", query, *more)
    assert code == 0
    assert "content" not in err


def test_words_and_a_file_make_one_query(monkeypatch: pytest.MonkeyPatch, run, notes: Path, tmp_path: Path):
    asked = []
    original = FakeModel.embed_prepared

    def watching(self, items, **more):
        asked.extend(items)
        return original(self, items, **more)

    run("index", str(notes))
    monkeypatch.setattr(FakeModel, "embed_prepared", watching)
    mine = picture(tmp_path / "mine.png", (250, 0, 0))
    run("search", "but green", "-f", str(mine))
    assert [part.modality for part in asked[0].parts] == ["text", "image"]
    assert len(asked) == 1


def test_when_nothing_is_relevant_it_says_so(run, notes: Path):
    run("index", str(notes))
    code, out, _ = run("search", "train", "--threshold", "1")
    assert (code, out.strip()) == (0, "nothing relevant")


def test_a_collection_that_is_not_there_is_an_error(run_json):
    code, answer = run_json("search", "boat", "--store", "elsewhere")
    assert code == 1
    assert answer["error"]["code"] == "not_found"


def test_collections_are_kept_apart(run_json, notes: Path):
    run_json("index", str(notes), "--store", "mine")
    assert run_json("search", "boat", "--store", "mine", "--threshold", "0")[1] != []
    assert run_json("search", "boat")[0] == 1


def test_before_anything_is_indexed_search_says_how(run):
    code, _, err = run("search", "boat")
    assert code == 1
    assert "chiasm index" in err
    assert not Path("chiasm-data").exists()


@pytest.mark.parametrize(
    "missing",
    [
        ["index", "nowhere"],
        ["search"],
        ["search", "--file", "nowhere.png"],
        ["search", "boat", "--modality", "smell"],
        ["embed"],
        ["embed", "--text", "boat", "--output", "nowhere/vectors.npy"],
        ["eval", "--output", "nowhere/table.md"],
        ["bench", "--output", "nowhere/table.md"],
    ],
)
def test_what_is_missing_is_wrong_usage(run, missing: list[str]):
    code, out, err = run(*missing)
    assert (code, out) == (2, "")
    assert err


def test_embed_gives_one_unit_vector_each_in_order(run_json, notes: Path):
    code, answer = run_json("embed", str(notes / "bread.md"), "--text", "boat", "--text", "bread")
    vectors = np.array([one["embedding"] for one in answer["data"]])
    assert code == 0
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)


def test_a_bad_file_among_many_is_named(run, notes: Path):
    good, bad = str(notes / "red.png"), str(notes / "broken.png")
    code, _, err = run("embed", good, bad)
    assert code == 1
    assert err.startswith(f"error: {bad}: expected")
    assert run("search", "red", "--file", bad)[0] == 1


def test_embed_mixed_gives_one_vector(run_json):
    _, answer = run_json("embed", "--text", "red", "--text", "boat", "--mixed")
    assert [one["input"] for one in answer["data"]] == ["red+boat"]


def test_embed_writes_an_array(run, tmp_path: Path):
    code, out, _ = run("embed", "--text", "red", "--output", str(tmp_path / "v.npy"))
    assert code == 0
    assert "[64]" in out
    assert np.load(tmp_path / "v.npy").shape == (1, 64)


def test_models_names_the_licence_and_the_figures(run_json, run):
    _, listed = run_json("models")
    assert listed[0]["licence"] == "CC0-1.0"
    assert listed[0]["metrics"] == {"R@1": 0.5}
    assert "text, image, audio, video" in run("models")[1]


def test_doctor_measures_the_backend(run_json):
    code, checks = run_json("doctor")
    by_name = {check["name"]: check for check in checks}
    assert "pictures/s" in by_name["backend"]["found"]
    assert by_name["torch"]["ok"]
    assert code == (1 if any(c["needed"] and not c["ok"] for c in checks) else 0)


def test_jobs_of_a_place_that_is_not_there_are_none(run, run_json):
    assert run("jobs")[1].strip() == "no jobs"
    assert run_json("jobs") == (0, [])
    assert run("jobs", "job_1")[0] == 1
    assert not Path("chiasm-data").exists()


def test_jobs_of_a_library_without_a_server_are_none(run_json, notes: Path):
    run_json("index", str(notes))
    assert run_json("jobs") == (0, [])
    code, answer = run_json("jobs", "job_1")
    assert (code, answer["error"]["code"]) == (1, "not_found")


def test_while_a_server_holds_the_data_the_work_is_the_servers(
    monkeypatch: pytest.MonkeyPatch, run_json, notes: Path
):
    calls: list[tuple[str, object]] = []

    class Library:
        def __init__(self, address: str) -> None:
            calls.append(("library", address))

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            calls.append(("closed", None))

        def ensure_store(self, name: str) -> None:
            calls.append(("store", name))

        def index_folder(self, store: str, folder: Path, progress) -> SimpleNamespace:
            calls.append(("index", folder))
            return SimpleNamespace(added=0, changed=0, moved=0, removed=0, unchanged=0, failed=())

    engines: list[str] = []

    def engine(address: str):
        engines.append(address)
        return nullcontext(FakeModel())

    holder = SimpleNamespace(pid=1, address="ipc:///run/x/library")
    monkeypatch.setattr("chiasm.stores.lock.holder_of", lambda _folder: holder)
    monkeypatch.setattr("chiasm.library.client.LibraryClient", Library)
    monkeypatch.setattr("chiasm.serving.client.EngineClient", engine)
    monkeypatch.chdir(notes.parent)
    code, _ = run_json("index", "notes")
    assert code == 0
    assert calls == [
        ("library", "ipc:///run/x/library"),
        ("store", "library"),
        ("index", notes),
        ("closed", None),
    ]
    assert engines == ["ipc:///run/x/engine"]


def test_data_held_by_a_process_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, run_json, notes: Path
):
    monkeypatch.setattr(
        "chiasm.stores.lock.holder_of", lambda _folder: SimpleNamespace(pid=4711, address=None)
    )
    code, answer = run_json("index", str(notes))
    assert code == 1
    assert answer["error"]["code"] == "data_dir_locked"
    assert "4711" in answer["error"]["message"]


def test_hits_in_documents_say_where(run, fake_model, notes):
    (notes / "trip.docx").write_bytes(docx(placed("a"), {"a": (notes / "red.png").read_bytes()}))
    (notes / "manual.pdf").write_bytes(pdf(["bread", "boat"]))
    run("index", str(notes), "--data-dir", "d")
    code, out, _ = run("search", "red", "--data-dir", "d", "--modality", "image", "--threshold", "0")
    assert code == 0
    assert "trip.docx" in out
    code, out, _ = run("search", "boat", "--data-dir", "d", "--threshold", "0")
    assert code == 0
    assert [line.split()[-2:] for line in out.splitlines() if "manual.pdf" in line] == [["page", "2"]]
