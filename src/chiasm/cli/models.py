"""``chiasm models``: what can be loaded here."""

from typing import Any

from rich.console import Group
from rich.table import Table

from chiasm.cli import options
from chiasm.cli.console import emit, pick
from chiasm.settings import short_name


def models(model: options.Model = None, as_json: options.AsJson = False) -> None:
    """Show the model that is set (what it takes and gives, licence, figures), and those that were pulled."""
    from chiasm.hub.names import all_pulled
    from chiasm.inference import load

    settings = options.read_settings({"model.source": model}).settings
    description = load(settings.model.first.source, device="cpu").description
    data: dict[str, Any] = {
        "id": description.name,
        "source": settings.model.first.source,
        "revision": description.revision,
        "modalities": description.modalities,
        "capabilities": description.capabilities,
        "dimensions": description.dimensions,
        "context_length": description.context_length,
        "backend": description.backend,
        "licence": description.licence,
        "languages": description.languages,
        "metrics": description.metrics,
    }
    pulled = [
        {"id": short_name(one.source), "source": one.source, "commit": one.commit, "licence": one.licence,
         "bytes": one.bytes}
        for one in all_pulled()
    ]  # fmt: skip
    emit(
        [data, *pulled], lambda: Group(_table(data), *([_pulled(pulled)] if pulled else [])), as_json=as_json
    )


def _pulled(models: list[dict[str, Any]]) -> Table:
    table = Table(pick("pulled", "已下载"), "MB", pick("licence", "许可证"), box=None, pad_edge=False)
    for one in models:
        table.add_row(one["source"], f"{one['bytes'] / 1e6:.0f}", one["licence"])
    return table


def _table(data: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    names = {
        "id": ("name", "名称"),
        "source": ("source", "来源"),
        "revision": ("revision", "版本"),
        "modalities": ("takes", "可处理"),
        "capabilities": ("can do", "能力"),
        "dimensions": ("dimensions", "向量维数"),
        "context_length": ("context length", "上下文长度"),
        "backend": ("backend", "计算后端"),
        "licence": ("licence", "许可证"),
        "languages": ("languages", "语言"),
    }
    for key, (en, zh) in names.items():
        value = data[key]
        table.add_row(pick(en, zh), ", ".join(map(str, value)) if isinstance(value, tuple) else str(value))
    for name, value in data["metrics"].items():
        if isinstance(value, list):  # of every one of them --json tells more
            value = pick(f"{len(value)} (--json shows them)", f"{len(value)} 项（用 --json 查看）")  # noqa: PLW2901
        table.add_row(str(name), str(value))
    return table
