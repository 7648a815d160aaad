"""Keys at the door: who may do what, how much of it, and what is written down about it."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from api_fakes import ColourModel, context_of, picture, settings_for, sound
from flask import Flask
from flask.testing import FlaskClient

from chiasm.api import create_app
from chiasm.api.gateway import DEPARTURE
from chiasm.api.offline import Offline
from chiasm.api.passes import SECONDS
from chiasm.api.rights import NEEDS, need_of
from chiasm.errors import Overloaded
from chiasm.observe.logs import FIELDS
from chiasm.serving.departure import Departure
from chiasm.settings import ServerSettings
from chiasm.stores import Allowance, Amounts, AuditLog, Keys

NOON = 20_000 * 86_400 + 43_200.0


@dataclass
class Door:
    """An application with keys, a clock that we turn by hand, and what it wrote down."""

    app: Flask
    keys: Keys
    model: ColourModel
    folder: Path
    audit: AuditLog
    now: list[float] = field(default_factory=lambda: [NOON])

    def key(self, *rights: str, name: str = "test", **bounds: float) -> dict[str, str]:
        """The headers of someone who has these rights."""
        token = self.keys.create(name, rights, allowance=Allowance(**bounds))[1]
        return {"Authorization": f"Bearer {token}"}

    def written(self) -> list[dict]:
        self.audit.close()
        path = self.folder / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def door_of(folder: Path, server: ServerSettings | None = None) -> Iterator[Door]:
    now = [NOON]
    settings = settings_for(folder, server=server)
    model = ColourModel()
    context, library = context_of(settings, model)
    with (
        library,
        Keys(folder, clock=lambda: now[0]) as keys,
        AuditLog(folder, max_bytes=1 << 20, files=2) as audit,
    ):
        made = create_app(replace(context, keys=keys, audit=audit, clock=lambda: now[0]))
        yield Door(made, keys, model, folder, audit, now)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    yield from door_of(tmp_path / "data")


@pytest.fixture
def ask(door: Door) -> FlaskClient:
    return door.app.test_client(use_cookies=True)


def is_error(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert set(response.json["error"]) == {"message", "type", "param", "code"}
    assert response.json["error"]["code"] == code
    return response.json["error"]


def test_every_route_says_what_it_needs(door: Door) -> None:
    endpoints = {rule.endpoint for rule in door.app.url_map.iter_rules()}
    assert endpoints == set(NEEDS)
    assert need_of("some.forgotten_route") == "admin"


def test_what_needs_nothing_is_health_and_the_page_s_own_files() -> None:
    assert {name.partition(".")[0] for name, need in NEEDS.items() if need == "nothing"} == {
        "health",
        "web",
        "documents",
    }


def test_while_there_are_no_keys_any_header_will_do(ask: FlaskClient) -> None:
    for header in ("Bearer none", "Bearer ck-1", "Basic eDp5", "Bearer", ""):
        assert ask.get("/v1/models", headers={"Authorization": header}).status_code == 200
    assert ask.post("/v1/vector_stores", json={"name": "a"}).status_code == 200
    assert ask.post("/v1/session").json == {"object": "session", "key": None, "expires_at": None}


def test_as_soon_as_there_is_one_every_other_route_needs_it(door: Door, ask: FlaskClient) -> None:
    door.key("read")
    for rule in door.app.url_map.iter_rules():
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<path:{name}>", "x").replace(f"<{name}>", "x")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            response = ask.open(path, method=method)
            if NEEDS[rule.endpoint] == "nothing":
                assert response.status_code != 401, path
            else:
                is_error(response, 401, "missing_api_key")
                assert response.headers["WWW-Authenticate"] == "Bearer"
    is_error(ask.get("/v1/nothing"), 401, "missing_api_key")
    is_error(ask.patch("/v1/models"), 401, "missing_api_key")


@pytest.mark.parametrize(
    "scheme", ["Bearer {}x", "Basic {}", "{}", "Bearer ck-" + "0" * 24 + "-" + "A" * 43, "Bearer é"]
)
def test_a_wrong_key_is_no_key(door: Door, ask: FlaskClient, scheme: str) -> None:
    token = door.key("admin")["Authorization"].removeprefix("Bearer ")
    header = {"Authorization": scheme.format(token)}
    error = is_error(ask.get("/v1/models", headers=header), 401, "invalid_api_key")
    assert error["type"] == "authentication_error"
    assert token not in error["message"]
    assert ask.get("/v1/models", headers={"Authorization": f"bearer  {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("right", "may"),
    [
        ("read", {"read"}),
        ("write", {"write"}),
        ("train", {"train"}),
        ("admin", {"read", "write", "train", "admin"}),
    ],
)
def test_each_right_opens_its_own_routes(door: Door, ask: FlaskClient, right: str, may: set[str]) -> None:
    headers = door.key(right)
    for rule in door.app.url_map.iter_rules():
        need = NEEDS[rule.endpoint]
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<path:{name}>", "x").replace(f"<{name}>", "x")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            response = ask.open(path, method=method, headers=headers)
            refused = response.status_code == 403 and response.json["error"]["code"] == "missing_right"
            assert refused == (need not in {"nothing", "any", *may}), (method, path)


def test_a_refusal_names_the_right_in_both_languages(door: Door, ask: FlaskClient) -> None:
    headers = door.key("read", name="reader")
    error = is_error(ask.post("/v1/vector_stores", json={}, headers=headers), 403, "missing_right")
    assert "right write" in error["message"]
    chinese = ask.post("/v1/vector_stores", json={}, headers=headers | {"Accept-Language": "zh"})
    assert "write 权限" in chinese.json["error"]["message"]


def test_revoked_and_expired_keys_open_nothing_from_the_next_request_on(door: Door, ask: FlaskClient) -> None:
    record, token = door.keys.create("a", ("read",), expires_at=NOON + 10)
    headers = {"Authorization": f"Bearer {token}"}
    assert ask.get("/v1/models", headers=headers).status_code == 200
    door.now[0] += 10
    is_error(ask.get("/v1/models", headers=headers), 401, "invalid_api_key")
    other = door.key("read", name="b")
    assert ask.get("/v1/models", headers=other).status_code == 200
    door.keys.revoke("b")
    is_error(ask.get("/v1/models", headers=other), 401, "invalid_api_key")
    door.keys.revoke(record.id)
    is_error(ask.get("/v1/models"), 401, "missing_api_key")


def test_a_rate_names_itself_and_says_when_to_come_back(door: Door, ask: FlaskClient) -> None:
    headers = door.key("read", rate=3)
    assert [ask.get("/v1/models", headers=headers).status_code for _ in range(4)] == [200, 200, 200, 429]
    response = ask.get("/v1/models", headers=headers)
    assert is_error(response, 429, "rate_limited")["type"] == "rate_limit_error"
    assert response.headers["Retry-After"] == "20"
    door.now[0] += 20
    assert ask.get("/v1/models", headers=headers).status_code == 200


def test_a_budget_counts_what_the_model_reads(door: Door, ask: FlaskClient) -> None:
    headers = door.key("read", text_tokens=3, pixels=16 * 16)
    assert ask.post("/v1/embeddings", json={"input": ["red", "green"]}, headers=headers).status_code == 200
    response = ask.post("/v1/embeddings", json={"input": "red green"}, headers=headers)
    is_error(response, 429, "text_tokens_budget_exceeded")
    assert int(response.headers["Retry-After"]) == 43_200
    assert ask.post("/v1/embeddings", json={"input": "red"}, headers=headers).status_code == 200
    url = {"image": (io.BytesIO(picture("red")), "a.png")}
    assert ask.post("/v1/embeddings", data=url, headers=headers).status_code == 200
    url = {"image": (io.BytesIO(picture("blue")), "a.png")}
    is_error(ask.post("/v1/embeddings", data=url, headers=headers), 429, "pixels_budget_exceeded")
    door.now[0] += 86_400
    assert ask.post("/v1/embeddings", json={"input": "red"}, headers=headers).status_code == 200


def test_what_the_engine_refuses_costs_nothing(door: Door, ask: FlaskClient) -> None:
    headers = door.key("read", text_tokens=1)
    door.model.failure = Overloaded("the queue is full", "队列已满")
    assert ask.post("/v1/embeddings", json={"input": "red"}, headers=headers).status_code == 503
    door.model.failure = None
    assert ask.post("/v1/embeddings", json={"input": "red"}, headers=headers).status_code == 200


def test_what_is_indexed_is_paid_for_before(door: Door, ask: FlaskClient) -> None:
    headers = door.key("read", "write", media_seconds=2.5, text_tokens=0)
    store = ask.post("/v1/vector_stores", json={"name": "s"}, headers=headers).json["id"]

    def put(name: str, content: bytes) -> int:
        kept = ask.post("/v1/files", data={"file": (io.BytesIO(content), name)}, headers=headers)
        body = {"file_id": kept.json["id"]}
        return ask.post(f"/v1/vector_stores/{store}/files", json=body, headers=headers).status_code

    assert put("a.wav", sound(2.0)) == 200
    assert put("b.wav", sound(1.0)) == 429
    assert put("c.txt", b"red") == 429
    assert put("d.png", picture("red")) == 200
    assert len(ask.get(f"/v1/vector_stores/{store}/files", headers=headers).json["data"]) == 2
    used = door.keys.records()[0][1]
    assert (used.media_seconds, used.pixels) == (pytest.approx(2.0), 256)


def test_a_key_says_what_it_may_do(door: Door, ask: FlaskClient) -> None:
    answer = ask.post("/v1/session", headers=door.key("read", name="me", rate=60, pixels=9)).json
    assert answer["expires_at"] == NOON + SECONDS
    told = answer["key"]
    assert (told["name"], told["rights"], told["rate"], told["budgets"]) == (
        "me",
        ["read"],
        60,
        {"pixels": 9},
    )


def open_page(ask: FlaskClient, headers: dict[str, str]) -> str:
    """Log in as the page does; the cookie's header."""
    given = ask.post("/v1/session", headers=headers).headers["Set-Cookie"]
    assert "HttpOnly" in given
    assert "SameSite=Strict" in given
    assert "Path=/v1/files" in given
    return given


def test_a_page_s_pass_shows_files_and_does_nothing_else(door: Door, ask: FlaskClient) -> None:
    headers = door.key("read", "write")
    kept = ask.post("/v1/files", data={"file": (io.BytesIO(picture("red")), "a.png")}, headers=headers).json[
        "id"
    ]
    content, thumbnail = f"/v1/files/{kept}/content", f"/v1/files/{kept}/thumbnail"
    is_error(ask.get(content), 401, "missing_api_key")
    open_page(ask, headers)
    assert ask.get(content, buffered=True).data == picture("red")
    assert ask.get(thumbnail).status_code == 200
    assert ask.head(content, buffered=True).status_code == 200
    for method, path in (("GET", f"/v1/files/{kept}"), ("DELETE", f"/v1/files/{kept}"), ("GET", "/v1/files")):
        is_error(ask.open(path, method=method), 401, "missing_api_key")
    is_error(ask.get(content, headers={"Authorization": "Bearer ck-wrong"}), 401, "invalid_api_key")
    assert ask.delete("/v1/session", headers=headers).status_code == 200
    is_error(ask.get(content), 401, "missing_api_key")


def test_a_pass_ends_with_its_time_and_with_its_key(door: Door, ask: FlaskClient) -> None:
    headers = door.key("read", "write", name="page")
    kept = ask.post("/v1/files", data={"file": (io.BytesIO(picture("red")), "a.png")}, headers=headers).json[
        "id"
    ]
    path = f"/v1/files/{kept}/thumbnail"
    cookie = open_page(ask, headers).partition(";")[0]
    bare = door.app.test_client(use_cookies=False)
    assert bare.get(path, headers={"Cookie": cookie}).status_code == 200
    door.now[0] += SECONDS + 1
    is_error(bare.get(path, headers={"Cookie": cookie}), 401, "missing_api_key")
    door.now[0] -= SECONDS
    name, _, value = cookie.partition("=")
    for forged in (value[:-1], f"key_{'0' * 24}{value[28:]}", value.partition(".")[0], "", "é"):
        is_error(bare.get(path, headers={"Cookie": f"{name}={forged}"}), 401, "missing_api_key")
    door.keys.revoke("page")
    is_error(bare.get(path, headers={"Cookie": cookie}), 401, "missing_api_key")


def test_a_pass_gives_no_more_than_its_key(door: Door, ask: FlaskClient) -> None:
    kept = ask.post("/v1/files", data={"file": (io.BytesIO(picture("red")), "a.png")}).json["id"]
    open_page(ask, door.key("write"))
    is_error(ask.get(f"/v1/files/{kept}/content"), 403, "missing_right")


def test_without_keys_a_server_that_others_can_reach_opens_nothing(tmp_path: Path) -> None:
    for door in door_of(tmp_path / "data", ServerSettings(host="192.0.2.7")):
        ask = door.app.test_client()
        is_error(ask.get("/v1/models", headers={"Host": "192.0.2.7:8000"}), 403, "no_keys")
        assert ask.get("/readyz", headers={"Host": "192.0.2.7:8000"}).status_code == 200
        headers = {"Host": "192.0.2.7:8000"} | door.key("read")
        assert ask.get("/v1/models", headers=headers).status_code == 200


def test_the_audit_log_has_writes_and_refusals_and_no_contents(door: Door, ask: FlaskClient) -> None:
    writer, reader = door.key("write", name="w"), door.key("read", name="r", text_tokens=1)
    ids = {record.name: record.id for record, _ in door.keys.records()}
    ask.post("/v1/vector_stores", json={"name": "a secret plan"}, headers=writer | {"X-Request-Id": "mine"})
    ask.post("/v1/embeddings", json={"input": "red"}, headers=reader)
    ask.post("/v1/embeddings", json={"input": "green"}, headers=reader)
    ask.delete("/v1/vector_stores/plan", headers=reader)
    ask.get("/v1/models", headers={"Authorization": "Bearer ck-guess"})
    ask.get("/v1/unknown?q=secret")
    lines = door.written()
    assert [(e["key"], e["method"], e["route"], e["status"], e["code"]) for e in lines] == [
        (ids["w"], "POST", "/v1/vector_stores", 200, None),
        (ids["r"], "POST", "/v1/embeddings", 429, "text_tokens_budget_exceeded"),
        (ids["r"], "DELETE", "/v1/vector_stores/<store_id>", 403, "missing_right"),
        (None, "GET", "/v1/models", 401, "invalid_api_key"),
        (None, "GET", None, 401, "missing_api_key"),
    ]
    assert (lines[0]["request"], lines[0]["bytes"]) == ("mine", 25)
    assert lines[0]["time"].startswith("2024-10-04T12:00:00.000")
    raw = (door.folder / "audit.jsonl").read_text()
    for secret in ("secret", "plan", "green", "guess", writer["Authorization"][-43:]):
        assert secret not in raw


def test_the_audit_log_has_what_a_change_cost(door: Door, ask: FlaskClient) -> None:
    headers = door.key("write", "read", pixels=1000)
    store = ask.post("/v1/vector_stores", json={"name": "s"}, headers=headers).json["id"]
    ask.post(
        f"/v1/vector_stores/{store}/files",
        data={"file": (io.BytesIO(picture("red")), "a.png")},
        headers=headers,
    )
    assert door.written()[-1]["cost"] == {"pixels": 256}


def test_who_has_left_is_not_worked_for(door: Door, ask: FlaskClient) -> None:
    departure = Departure()
    departure.happen()
    response = ask.post("/v1/embeddings", json={"input": "red"}, environ_overrides={DEPARTURE: departure})
    is_error(response, 499, "caller_left")
    assert door.model.seen == []


def test_the_engine_is_told_for_whom(door: Door, ask: FlaskClient) -> None:
    told: list[str] = []

    class Timed:
        queue_ms = inference_ms = 0.0

        def __init__(self, vectors: object) -> None:
            self.vectors = vectors

    def embed_timed(items, *, deadline=None, caller="", departure=None):
        told.append(caller)
        return Timed(door.model.embed_prepared(items))

    door.model.embed_timed = embed_timed
    ask.post("/v1/embeddings", json={"input": "red"})
    headers = door.key("read")
    ask.post("/v1/embeddings", json={"input": "red"}, headers=headers)
    assert told == ["", door.keys.records()[0][0].id]


def test_amounts_add_up() -> None:
    assert Amounts(pixels=1) + Amounts(pixels=2, text_tokens=1) == Amounts(pixels=3, text_tokens=1)
    assert not Amounts()
    assert not Amounts(pixels=1) + -Amounts(pixels=1)


def test_the_lines_of_a_batch_are_paid_for_by_whoever_sent_it(door: Door) -> None:
    record, _ = door.keys.create("batch", ("read", "write"), allowance=Allowance(rate=1, text_tokens=2))
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "red"}}
    data = json.dumps(line).encode()
    offline = Offline(door.app, key_id=record.id, sleep=lambda _: pytest.fail("a day is not waited for"))
    answers = [offline.answer(data, "/v1/embeddings") for _ in range(3)]
    assert [good for good, _ in answers] == [True, True, False]
    assert b"text_tokens_budget_exceeded" in answers[2][1]
    assert Offline(door.app).answer(data, "/v1/embeddings")[0], "sent while no key was needed"
    door.keys.revoke(record.id)
    assert b"invalid_api_key" in offline.answer(data, "/v1/embeddings")[1]


def test_the_line_of_a_request_names_its_key(
    door: Door, ask: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    key, token = door.keys.create("test", ["read"])
    headers = {"Authorization": f"Bearer {token}"}
    with caplog.at_level(logging.INFO, "chiasm.api.watching"):
        assert ask.get("/v1/models", headers=headers).status_code == 200
        assert ask.get("/v1/models").status_code == 401
    assert [getattr(record, FIELDS)["key_id"] for record in caplog.records] == [key.id, None]
