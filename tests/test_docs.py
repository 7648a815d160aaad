"""The documentation is true: its code runs, its links lead somewhere, nothing that can be set is left out."""

import json
import re
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chiasm.settings import Settings, describe, flatten, load_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
READY_SECONDS = 120
_BLOCK = re.compile(r"<!-- run(?P<with>: server)? -->\n```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def blocks(*, server: bool) -> list[tuple[str, str]]:
    """(page, code) of the blocks that are marked as runnable."""
    return [
        (page.relative_to(ROOT).as_posix(), found["code"])
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
        if bool(found["with"]) is server
    ]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``chiasm serve`` as a user starts it; yields its address once it is ready."""
    folder = tmp_path_factory.mktemp("served")
    command = [
        sys.executable,
        "-m",
        "chiasm",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(folder / "data"),
        "--json",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"the server was not ready within {READY_SECONDS} s (exit status {process.poll()})")


@pytest.mark.parametrize(("page", "code"), blocks(server=False))
def test_code_runs(page: str, code: str):
    done = python(code)
    assert done.returncode == 0, f"{page}: {done.stderr}"
    assert done.stdout


@pytest.mark.parametrize(("page", "code"), blocks(server=True))
def test_code_for_the_server_runs(page: str, code: str, server: str):
    done = python(code.replace("http://127.0.0.1:8000", server))
    assert done.returncode == 0, f"{page}: {done.stderr}"
    best = done.stdout.splitlines()[0]
    assert "red-apple.webp" in best


def test_some_code_is_run():
    assert {page for page, _ in blocks(server=False)} >= {"README.md", "README.zh.md"}
    assert {page for page, _ in blocks(server=True)} == {"README.md", "README.zh.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path):
    targets = [found["target"] for found in _LINK.finditer(page.read_text(encoding="utf-8"))]
    local = [
        target.partition("#")[0] for target in targets if not target.startswith(("http://", "https://", "#"))
    ]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", describe())
def test_every_setting_is_documented(language: str, name: str):
    page = (ROOT / "docs" / language / "settings.md").read_text(encoding="utf-8")
    row = re.search(
        rf"^\| `{re.escape(name)}` \| (?P<help>.+?) \| `(?P<default>.*?)`.* \|$", page, re.MULTILINE
    )
    assert row is not None
    value = flatten(Settings())[name]
    assert row["default"] == (json.dumps(value) if isinstance(value, bool | tuple) else str(value))
    if language == "en":
        assert row["help"] == describe()[name]
    else:
        assert re.search(r"[\u4e00-\u9fff]|cuda", row["help"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_example_of_a_settings_file_is_valid(language: str, tmp_path: Path):
    page = (ROOT / "docs" / language / "settings.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    assert tomllib.loads(example[1])
    (tmp_path / "chiasm.toml").write_text(example[1], encoding="utf-8")
    assert load_settings(toml_path=tmp_path / "chiasm.toml").settings.server.port == 8001


def test_both_languages_have_the_same_pages():
    english, chinese = (
        {page.name for page in (ROOT / "docs" / language).iterdir()} for language in ("en", "zh")
    )
    assert english == chinese


@pytest.mark.parametrize(
    "pages", [("README.md", "README.zh.md"), ("docs/en/getting-started.md", "docs/zh/getting-started.md")]
)
def test_both_languages_tell_the_same(pages: tuple[str, str]):
    shapes = [
        re.findall(r"^(?:#+|```\w*|\|---.*)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        for page in pages
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_two_commands_come_first(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    first = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert first is not None
    assert [line.split()[:2] for line in first[1].splitlines()] == [["git", "clone"], ["make", "serve"]]
    assert text.index(first[0]) < 200


def test_every_decision_is_in_the_list():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert listed == sorted(page.name for page in folder.glob("0*.md"))
