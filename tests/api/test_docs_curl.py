"""Every curl line of the documentation, run by a shell against a whole server."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_fakes import picture
from live import LiveServer, live_server

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("README*.md")),
    *sorted((ROOT / "docs" / "en").glob("*.md")),
    *sorted((ROOT / "docs" / "zh").glob("*.md")),
]
BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`(curl [^`]+)`")
ADDRESS = "http://127.0.0.1:8000"


def commands_of(text: str) -> list[str]:
    """Whole commands that call curl, in order; a line that ends with a backslash or a pipe goes on."""
    found = [line for line in INLINE.findall(text) if ADDRESS in line]
    for block in BLOCK.findall(text):
        joined = re.sub(r"(\\|\|)\n\s*", lambda m: "| " if m[1] == "|" else "", block)
        found += [line for line in joined.splitlines() if "curl " in line and not line.startswith("#")]
    return found


WITH_CURL = [page for page in PAGES if commands_of(page.read_text("utf-8"))]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with live_server(tmp_path / "server") as running:
        yield running


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", WITH_CURL, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_curl_line_of_the_page_succeeds(page: Path, server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(picture("red"))
    for command in commands_of(page.read_text("utf-8")):
        assert ADDRESS in command, f"{command}: a server that is not ours"
        failing = command.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
        ran = subprocess.run(
            ["sh", "-c", failing.replace(ADDRESS, server.url)],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout.decode()}\n{ran.stderr.decode()}"


def test_lines_that_go_on_are_one_command() -> None:
    text = "```sh\ncurl -F a=b \\\n  http://x\nprintf x |\n  curl --data @- http://y\n# curl no\nls\n```"
    assert commands_of(text) == ["curl -F a=b http://x", "printf x | curl --data @- http://y"]


def test_the_pages_of_both_languages_are_among_them() -> None:
    names = {str(page.relative_to(ROOT)) for page in WITH_CURL}
    assert {"README.md", "README.zh.md", "docs/en/curl.md", "docs/zh/curl.md"} <= names
