"""``chiasm models``: what can be loaded here."""

from typing import Any

from rich.table import Table

from chiasm.cli import options
from chiasm.cli.console import emit, pick


def models(model: options.Model = None, as_json: options.AsJson = False) -> None:
    """Show the model that is set: what it takes and gives, its licence and what was measured."""
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
        "metrics": description.metrics,
    }
    emit([data], lambda: _table(data), as_json=as_json)


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
    }
    for key, (en, zh) in names.items():
        value = data[key]
        table.add_row(pick(en, zh), ", ".join(map(str, value)) if isinstance(value, tuple) else str(value))
    for name, value in data["metrics"].items():
        table.add_row(str(name), str(value))
    return table
