"""``chiasm pull``: bring a model from a hub."""

from dataclasses import asdict
from typing import Annotated

import typer

from chiasm.cli import options
from chiasm.cli.console import emit, pick, progress, say

Source = Annotated[
    str, typer.Argument(help="hf:OWNER/NAME or modelscope:OWNER/NAME, perhaps with @REVISION.")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", help="Address of a mirror.", show_default="HF_ENDPOINT or the hub")
]


def pull(source: Source, *, endpoint: Endpoint = None, as_json: options.AsJson = False) -> None:
    """Bring a model from a hub into the cache, checked by hash; interrupted, run it again to go on.

    Afterwards `--model` takes the same name, without the network.
    """
    from chiasm.hub.listing import look
    from chiasm.hub.names import parse_source, read_receipt
    from chiasm.hub.pull import pull as bring

    offer = look(parse_source(source), endpoint)
    size, licence = offer.bytes / 1e6, offer.licence or pick("none stated", "未说明")
    commit, count = offer.commit[:12], len(offer.files)
    say(
        f"{offer.source} at {commit}: {count} files, {size:.0f} MB, licence: {licence}",
        f"{offer.source}，版本 {commit}：{count} 个文件，{size:.0f} MB，许可证：{licence}",
    )
    with progress("fetching", "正在下载", as_json=as_json) as update:
        folder = bring(offer, update)
    receipt = read_receipt(folder)
    assert receipt is not None
    emit({"folder": str(folder), **asdict(receipt)}, lambda: str(folder), as_json=as_json)
