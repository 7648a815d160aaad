"""The page as the server sends it: languages, headers, and what its files may contain."""

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

import chiasm.api.web
from chiasm.api.web import blueprint

WEB = Path(chiasm.api.web.__file__).parent
SCRIPTS = sorted((WEB / "static" / "js").glob("*.js"))
TEMPLATE = (WEB / "templates" / "chiasm" / "page.html").read_text(encoding="utf-8")
# A key in a script is a literal, or has one part that is filled in: t("card.open"), t(`kind.${kind}`).
USED = re.compile(r"""(?:\bt|counted)\((?:\w+ \? )?["`]([\w.]+?)(\.\$\{[^}]+\})?["`]""")


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    app = Flask("page", static_folder=None)
    app.register_blueprint(blueprint)
    return app.test_client(use_cookies=False)


def wording(language: str) -> dict[str, str]:
    return json.loads((WEB / "translations" / f"{language}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("asked", "cookie", "sent"),
    [
        ("en-GB,en;q=0.9", None, "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", None, "zh-Hans"),
        ("zh-Hans-CN", None, "zh-Hans"),
        ("fr", None, "en"),
        ("", None, "en"),
        ("en", "zh", "zh-Hans"),
        ("zh", "en", "en"),
        ("zh", "../../etc/passwd", "zh-Hans"),
    ],
)
def test_the_page_comes_in_the_readers_language(
    client: FlaskClient, asked: str, cookie: str | None, sent: str
) -> None:
    headers = {"Accept-Language": asked} | ({"Cookie": f"chiasm_language={cookie}"} if cookie else {})
    response = client.get("/", headers=headers)
    assert response.status_code == 200
    assert f'<html lang="{sent}"' in response.text
    assert set(response.vary.to_header().split(", ")) == {"Accept-Language", "Cookie"}
    title = wording("zh" if sent == "zh-Hans" else "en")["page.title"]
    assert f"<title>{title}</title>" in response.text


def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline(client: FlaskClient) -> None:
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", response.text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", response.text)


def test_every_file_that_the_page_names_is_there_and_kept_for_good(client: FlaskClient) -> None:
    named = set(re.findall(r'(?:src|href)="(/web/[^"#]+)', client.get("/").text))
    assert len(named) >= 8
    for address in named:
        response = client.get(address, buffered=True)
        assert response.status_code == 200, address
        assert "immutable" in response.headers["Cache-Control"]


def test_documents_are_linked_where_there_are_any(client: FlaskClient) -> None:
    assert 'href="/docs"' not in client.get("/").text
    app = Flask("documented", static_folder=None)
    app.register_blueprint(blueprint)
    app.add_url_rule("/docs", "docs", lambda: "")
    assert 'href="/docs"' in app.test_client().get("/").text


def test_a_page_from_before_an_upgrade_still_gets_its_files(client: FlaskClient) -> None:
    response = client.get("/web/0123456789ab/js/main.js", buffered=True)
    assert response.mimetype == "text/javascript"
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["../page.py", "..%2Fpage.py", "js/none.js"])
def test_nothing_but_the_static_files_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/web/0123456789ab/{name}").status_code == 404


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_translation_is_served_whole(client: FlaskClient, language: str) -> None:
    response = client.get(f"/web/translations/{language}.json")
    assert response.json == wording(language)


def test_both_languages_say_the_same_things() -> None:
    english, chinese = wording("en"), wording("zh")
    assert list(english) == list(chinese)
    for key, words in english.items():
        assert words.strip(), key
        assert chinese[key].strip(), key
        slots = re.findall(r"\{\w+\}", words)
        assert sorted(slots) == sorted(re.findall(r"\{\w+\}", chinese[key])), key


def test_chinese_is_punctuated_as_chinese() -> None:
    for key, words in wording("zh").items():
        assert not re.search(r"[\u4e00-\u9fff][,;:?!]", words), key


def test_every_string_is_used_and_every_used_one_exists() -> None:
    known = wording("en")
    used = set(re.findall(r"""(?:data-t="|wording\[|label\(|t\()'?([a-z]+(?:[._][a-z_]+)*)'?""", TEMPLATE))
    for script in SCRIPTS:
        for key, filled in USED.findall(script.read_text(encoding="utf-8")):
            used |= {k for k in known if k.startswith(f"{key}.")} if filled else {key}
    used |= {key for key in known if f'"{key}"' in "".join(s.read_text(encoding="utf-8") for s in SCRIPTS)}
    used |= {key for key in known if key.removesuffix(".one") in used or key.startswith("kind.")}
    assert set(known) - used == set()
    assert {key for key in used if "." in key} - set(known) == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_small_and_never_write_markup(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
