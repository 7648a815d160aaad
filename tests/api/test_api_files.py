"""/v1/files: uploads, bytes, small pictures."""

import io

import numpy as np
import pytest
from api_fakes import picture, settings_for, sound, video
from PIL import Image as Pillow

from chiasm.settings import Limits
from document_files import docx, paragraph, pdf, placed


def upload(client, data: bytes, name: str = "a.png", **fields):
    return client.post("/v1/files", data={"file": (io.BytesIO(data), name), **fields})


def kept(client, data: bytes, name: str = "a.png") -> str:
    response = upload(client, data, name)
    assert response.status_code == 200, response.text
    return response.json["id"]


def dominant(webp: bytes) -> int:
    return int(np.asarray(Pillow.open(io.BytesIO(webp)).convert("RGB")).reshape(-1, 3).mean(axis=0).argmax())


def test_a_file_is_kept_and_given_back(client):
    response = upload(client, picture("red"), "红色.png", purpose="vision")
    found = response.json
    assert found["object"] == "file"
    assert (found["filename"], found["purpose"], found["bytes"]) == (
        "红色.png",
        "vision",
        len(picture("red")),
    )
    assert (found["mime"], found["modality"], found["status"]) == ("image/png", "image", "processed")
    content = client.get(f"/v1/files/{found['id']}/content", buffered=True)
    assert content.data == picture("red")
    assert content.headers["Content-Type"] == "image/png"
    assert "sandbox" in content.headers["Content-Security-Policy"]
    assert content.headers["X-Content-Type-Options"] == "nosniff"


def test_deleted_is_gone(client):
    file_id = kept(client, picture("red"))
    assert client.delete(f"/v1/files/{file_id}").json == {"id": file_id, "object": "file", "deleted": True}
    for path in ("", "/content", "/thumbnail"):
        assert client.get(f"/v1/files/{file_id}{path}").status_code == 404


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\a.png", "a.png"),
        ("a\x00b\r\nc.png", "abc.png"),
        ("x" * 400 + ".png", "x" * 251 + ".png"),
    ],
)
def test_names_are_for_reading_only(client, given, shown):
    from chiasm.api.uploads import safe_name

    assert safe_name(given) == shown


def test_html_is_text_and_never_a_page(client):
    file_id = kept(client, b"<!doctype html><script>alert(1)</script>", "page.html")
    content = client.get(f"/v1/files/{file_id}/content", buffered=True)
    assert content.mimetype == "text/plain"
    assert content.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("data", [b"PK\x03\x04\x00\x00", b"\x00\x01\x02\x03", b""])
def test_what_is_not_media_is_not_kept(client, data):
    response = upload(client, data)
    assert response.status_code == 415
    assert response.json["error"]["param"] == "file"


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({}, "file"),
        ({"purpose": "user_data"}, "file"),
        ({"file": "not a file"}, "file"),
        ({"file": (io.BytesIO(b"a"), "a.txt"), "purpose": "fun"}, "purpose"),
        ({"file": (io.BytesIO(b"a"), "a.txt"), "expires_after[anchor]": "x"}, "expires_after[anchor]"),
    ],
)
def test_forms_that_are_wrong_are_named(client, data, param):
    response = client.post("/v1/files", data=data, content_type="multipart/form-data")
    assert response.status_code == 400, response.text
    assert response.json["error"]["param"] == param


def test_a_form_without_a_boundary_and_one_cut_short(client):
    assert client.post("/v1/files", data=b"x", content_type="multipart/form-data").status_code == 400
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nabc'
    assert client.post("/v1/files", data=cut, content_type="multipart/form-data; boundary=b").status_code in {
        400,
        413,
    }


def test_json_is_not_a_file(client):
    assert client.post("/v1/files", json={"file": "a"}).status_code == 415


def test_too_large_a_file_is_413_and_leaves_nothing(make_app, tmp_path):
    limits = Limits(file_bytes=1000, body_bytes=5000)
    client = make_app(settings_for(tmp_path / "data", limits=limits)).test_client()
    assert upload(client, picture("red", 400) + b"\0" * 1000).status_code == 413
    assert upload(client, b"a" * 6000).status_code == 413
    assert not list((tmp_path / "data" / "uploads").iterdir())
    assert client.get("/v1/files").json["data"] == []


def test_the_upload_too_many_is_refused_at_once(make_app, tmp_path):
    app = make_app(settings_for(tmp_path / "data", limits=Limits(uploads=1)))
    slots = app.extensions["chiasm"].uploads
    slots.take()
    response = upload(app.test_client(), picture("red"))
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "2"
    slots.give_back()
    for _ in range(3):  # each gives its slot back
        assert upload(app.test_client(), picture("red")).status_code == 200


def test_lists_are_walked_by_cursor(client):
    ids = [kept(client, f"red {i}".encode(), f"{i}.txt") for i in range(3)]
    first = client.get("/v1/files?limit=2").json
    assert [entry["id"] for entry in first["data"]] == [ids[2], ids[1]]
    assert first["has_more"]
    assert first["last_id"] == ids[1]
    second = client.get(f"/v1/files?limit=2&after={first['last_id']}").json
    assert second["data"][0]["id"] == ids[0]
    assert client.get("/v1/files?limit=1&order=asc&purpose=batch").json["data"] == []


def test_ranges(client):
    data = video()
    file_id = kept(client, data, "a.mp4")
    whole = client.get(f"/v1/files/{file_id}/content", buffered=True)
    assert whole.headers["Accept-Ranges"] == "bytes"
    part = client.get(f"/v1/files/{file_id}/content", buffered=True, headers={"Range": "bytes=5-"})
    assert (part.status_code, part.data) == (206, data[5:])
    beyond = client.get(
        f"/v1/files/{file_id}/content", buffered=True, headers={"Range": f"bytes={len(data)}-"}
    )
    assert beyond.status_code == 416
    assert beyond.json["error"]["code"] == "range_not_satisfiable"
    again = client.get(
        f"/v1/files/{file_id}/content", buffered=True, headers={"If-None-Match": whole.headers["ETag"]}
    )
    assert again.status_code == 304


def test_thumbnails_of_pictures_and_sounds(client):
    small = client.get(f"/v1/files/{kept(client, picture('green', 600))}/thumbnail?side=64")
    assert small.mimetype == "image/webp"
    assert max(Pillow.open(io.BytesIO(small.data)).size) == 64
    assert dominant(small.data) == 1
    file_id = kept(client, sound(3), "a.wav")
    for query in ("", "?at=0", "?at=2", "?at=99"):
        assert client.get(f"/v1/files/{file_id}/thumbnail{query}").mimetype == "image/webp"


def test_thumbnails_of_moments_of_a_video(client):
    file_id = kept(client, video(("red", "green", "blue")), "a.mp4")
    seen = [dominant(client.get(f"/v1/files/{file_id}/thumbnail?at={at}").data) for at in (0.2, 1.5, 2.5, 60)]
    assert seen[1:] == [1, 2, 2]
    assert client.get(f"/v1/files/{file_id}/thumbnail").status_code == 200


def test_thumbnails_of_the_pages_of_a_document(client):
    file_id = kept(client, pdf(["!1 0 0 rg 0 0 595 842 re f", "!0 0 1 rg 0 0 595 842 re f"]), "x.pdf")
    seen = [
        client.get(f"/v1/files/{file_id}/thumbnail{query}") for query in ("", "?page=1", "?page=2&side=64")
    ]
    assert [dominant(response.data) for response in seen] == [0, 0, 2]
    assert seen[0].headers["ETag"] != seen[2].headers["ETag"]
    beyond = client.get(f"/v1/files/{file_id}/thumbnail?page=3")
    assert (beyond.status_code, beyond.json["error"]["param"]) == (400, "page")
    assert client.get(f"/v1/files/{kept(client, picture('red'))}/thumbnail?page=1").status_code == 400
    content = client.get(f"/v1/files/{file_id}/content", buffered=True)
    assert content.mimetype == "application/pdf"
    assert content.headers["Content-Disposition"].startswith("attachment")


def test_thumbnails_of_the_pictures_in_a_document(client):
    body = placed("a") + paragraph("between") + placed("b")
    file_id = kept(client, docx(body, {"a": picture("red"), "b": picture("blue")}), "x.docx")
    seen = [client.get(f"/v1/files/{file_id}/thumbnail{query}") for query in ("", "?at=0", "?at=9")]
    assert [dominant(response.data) for response in seen] == [0, 0, 2]
    assert client.get(f"/v1/files/{file_id}/thumbnail?page=1").status_code == 400
    wordy = kept(client, docx(paragraph("words")), "y.docx")
    assert client.get(f"/v1/files/{wordy}/thumbnail").status_code == 400


def test_a_thumbnail_that_is_known_is_not_made_again(client):
    file_id = kept(client, picture("green"))
    first = client.get(f"/v1/files/{file_id}/thumbnail")
    headers = {"If-None-Match": first.headers["ETag"]}
    assert client.get(f"/v1/files/{file_id}/thumbnail", headers=headers).status_code == 304
    assert client.get(f"/v1/files/{file_id}/thumbnail?side=99", headers=headers).status_code == 200


@pytest.mark.parametrize("query", ["at=-1", "at=nan", "at=inf", "at=x", "side=1", "side=9999", "width=3"])
def test_thumbnails_name_what_is_wrong(client, query):
    response = client.get(f"/v1/files/{kept(client, picture('red'))}/thumbnail?{query}")
    assert response.status_code == 400
    assert response.json["error"]["param"] == query.partition("=")[0]


def test_a_text_has_no_thumbnail(client):
    assert client.get(f"/v1/files/{kept(client, b'red', 'a.txt')}/thumbnail").status_code == 400
