"""``chiasm search``: find by words, by a file's content, or by both together."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, pick, plain, say
from chiasm.errors import NotFound

Query = Annotated[
    str | None,
    typer.Argument(help="Words; or the name of a file that exists and looks like one (photo.jpg, ./photo)."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        help="Search by this file's content; with words too, both make one query.",
        exists=True,
        dir_okay=False,
    ),
]
AsText = Annotated[bool, typer.Option("--text", help="Take QUERY as words even if there is such a file.")]
Limit = Annotated[int, typer.Option("--limit", "-n", help="Most results.", min=1, max=1000)]


class Kind(StrEnum):
    """What a hit may be."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


Kinds = Annotated[
    list[Kind] | None, typer.Option("--modality", help="Only text, image, audio or video; may be repeated.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold", help="Least relevance; 0 shows all.", show_default="the model's own", min=0, max=1
    ),
]

_LOOKS_LIKE_A_FILE = re.compile(r"[/\\]|\.[A-Za-z0-9]{1,5}$")


def search(
    query: Query = None,
    *,
    file: Files = None,
    as_text: AsText = False,
    store: options.AnyStore = None,
    limit: Limit = 10,
    modality: Kinds = None,
    threshold: Threshold = None,
    data_dir: options.DataDir = None,
    model: options.Model = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Search a collection by words, by a picture, a sound or a clip, or by several at once."""
    from chiasm.cli.connection import connect
    from chiasm.media import item_of_value
    from chiasm.modality import key_of

    parts = query_parts(query, file or [], as_text=as_text)
    settings = options.read_settings(
        {"library.data_dir": data_dir, "model.source": model, "model.device": device}
    ).settings
    if not settings.library.data_dir.is_dir():
        raise _nothing_yet(settings.library.data_dir)
    item = item_of_value(parts if len(parts) > 1 else parts[0], settings.limits)
    with connect(settings) as reached:
        hits = _hits(
            reached,
            item,
            store or _first_store(reached.library, settings.library.data_dir),
            query_modality=key_of(item.modalities),
            limit=limit,
            modalities=[kind.value for kind in modality] if modality else None,
            threshold=threshold,
        )
    emit([plain(hit) for hit in hits], lambda: _lines(hits), as_json=as_json)


def query_parts(query: str | None, files: list[Path], *, as_text: bool) -> list[str | Path]:
    """What the query consists of: words stay text, files are paths.

    Raises:
        typer.BadParameter: nothing is asked.
    """
    parts: list[str | Path] = list(files)
    if query is not None:
        parts.insert(0, query if as_text else _text_or_file(query))
    if not parts:
        raise typer.BadParameter(pick("expected words or --file", "请给出文字或 --file"), param_hint="QUERY")
    return parts


def _text_or_file(query: str) -> str | Path:
    # A word such as "apple" stays a word although a file of that name may lie here.
    if not _LOOKS_LIKE_A_FILE.search(query) or len(query) > 1000 or "\0" in query:
        return query
    path = Path(query)
    if path.is_file():
        say(
            f"searching by the content of {path} (--text searches for the words)",
            f"按文件 {path} 的内容搜索（加 --text 则按文字搜索）",
        )
        return path
    return query


def _first_store(library: Any, data_dir: Path) -> str:
    for name in (options.DEFAULT_STORE, options.SAMPLE_STORE):
        if library.find_store(name) is not None:
            return name
    raise _nothing_yet(data_dir)


def _nothing_yet(data_dir: Path) -> NotFound:
    return NotFound(
        f"nothing is indexed in {data_dir} yet; `chiasm index FOLDER` does that",
        f"{data_dir} 中还没有索引任何内容；请先运行 `chiasm index 文件夹`",
        param="store",
    )


def _hits(reached: Any, item: Any, store: str, **wanted: Any) -> list[Any]:
    maker = reached.maker_for(store)
    vectors = maker.embedder.embed_prepared([maker.preprocessor.prepare(item)])
    revision = maker.embedder.description.revision
    return list(reached.library.search(store, vectors, revision=revision, **wanted))


def _lines(hits: list[Any]) -> Text:
    if not hits:
        return Text(pick("nothing relevant", "没有相关的结果"))
    lines = []
    for hit in hits:
        place = _place(hit)
        lines.append(f"{hit.score:4.0%}  {hit.modality:5}  {hit.path or hit.name}" + (place and f"  {place}"))
        if hit.snippet:
            lines.append(f"{'':13}{_short(hit.snippet)}")
        lines += [f"{'':13}≈ {twin.path or twin.name}" for twin in hit.duplicates]
    return Text("\n".join(lines))


def _place(hit: Any) -> str:
    if hit.page is not None:
        return pick(f"page {hit.page}", f"第 {hit.page} 页")
    if hit.start is None or hit.end is None or hit.modality == "text":
        return ""
    return f"{_clock(hit.start)}–{_clock(hit.end)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _short(snippet: str | None, length: int = 60) -> str:
    line = " ".join((snippet or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"
