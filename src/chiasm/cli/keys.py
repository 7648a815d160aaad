"""``chiasm keys``: who may use a server, and how much. They work beside a running server and without one."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, pick

if TYPE_CHECKING:
    from chiasm.stores import Amounts, KeyRecord

keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the keys of a server.")

SECONDS = {"m": 60, "h": 3600, "d": 86_400}

Name = Annotated[str, typer.Argument(help="Whose key it is, or what for.")]
Key = Annotated[str, typer.Argument(help="Id of a key; or its name, if no other has it.")]
Rights = Annotated[
    list[str] | None,
    typer.Option(
        "--right",
        help="read, write, train or admin (which has all); may be repeated.",
        show_default="read",
    ),
]
Rate = Annotated[
    float | None, typer.Option("--rate", help="Requests a minute.", show_default="no limit", min=0)
]
TextTokens = Annotated[
    float | None,
    typer.Option("--text-tokens", help="Tokens of text a day.", show_default="no limit", min=0),
]
Pixels = Annotated[
    float | None,
    typer.Option("--pixels", help="Pixels of pictures and frames a day.", show_default="no limit", min=0),
]
MediaSeconds = Annotated[
    float | None,
    typer.Option("--media-seconds", help="Seconds of sound and video a day.", show_default="no limit", min=0),
]
Expires = Annotated[
    str | None,
    typer.Option("--expires", help="Time until it expires: 30m, 12h or 90d.", show_default="no limit"),
]


@keys_app.command("create")
def create(
    name: Name,
    *,
    rights: Rights = None,
    rate: Rate = None,
    text_tokens: TextTokens = None,
    pixels: Pixels = None,
    media_seconds: MediaSeconds = None,
    expires: Expires = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a key and print it, this once.

    From the first one on, every request to a server of this data directory needs a key.
    """
    from chiasm.stores import Allowance, Keys

    allowance = Allowance(rate=rate, text_tokens=text_tokens, pixels=pixels, media_seconds=media_seconds)
    until = None if expires is None else time.time() + _seconds_of(expires)
    with Keys(_folder(data_dir)) as keys:
        record, token = keys.create(name, tuple(rights or ("read",)), allowance=allowance, expires_at=until)
    emit({**_told(record), "key": token}, lambda: _shown_once(record, token), as_json=as_json)


@keys_app.command("list")
def list_keys(data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """List the keys, what each may do, and what was used of it today."""
    from chiasm.stores import Keys, keys_exist

    folder = _folder(data_dir)
    found: Sequence[tuple[KeyRecord, Amounts]] = []
    if keys_exist(folder):
        with Keys(folder) as keys:
            found = keys.records()
    told = [{**_told(record), "used_today": used} for record, used in found]
    emit(told, lambda: _table(found), as_json=as_json)


@keys_app.command("revoke")
def revoke(key: Key, data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """Close a key for good; a running server refuses it at once."""
    from chiasm.errors import NotFound
    from chiasm.stores import Keys, keys_exist

    folder = _folder(data_dir)
    if not keys_exist(folder):
        raise NotFound(f"there is no key {key!r}", f"没有密钥 {key!r}", param="key")
    with Keys(folder) as keys:
        record = keys.revoke(key)
    emit(_told(record), lambda: pick(f"revoked: {record.name}", f"已撤销：{record.name}"), as_json=as_json)


def _folder(data_dir: Path | None) -> Path:
    return options.read_settings({"library.data_dir": data_dir}).settings.library.data_dir


def _seconds_of(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if match is None or not int(match[1]):
        raise typer.BadParameter(
            pick(f"expected 30m, 12h or 90d, got {text!r}", f"应形如 30m、12h 或 90d，实际为 {text!r}"),
            param_hint="--expires",
        )
    return int(match[1]) * SECONDS[match[2]]


def _told(record: "KeyRecord") -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "rights": record.rights,
        "rate": record.allowance.rate,
        "budgets": record.allowance.budgets(),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
    }


def _shown_once(record: "KeyRecord", token: str) -> Group:
    remark = pick(
        f"The key {record.id} of {record.name!r}; it is not kept and cannot be shown again.",
        f"{record.name!r} 的密钥 {record.id}。密钥本身不会保存，以后无法再次查看。",
    )
    return Group(Text(token), Text(remark))


def _table(found: "Sequence[tuple[KeyRecord, Amounts]]") -> Table | str:
    if not found:
        return pick(
            "no keys: a server answers this machine only, and asks for none",
            "没有密钥：服务器只接受本机的请求，且不要求密钥",
        )
    table = Table(
        *pick("id name rights rate today state", "编号 名称 权限 每分钟请求 今日用量 状态").split(),
        box=None,
        pad_edge=False,
    )
    for record, used in found:
        budgets = record.allowance.budgets()
        today = ", ".join(
            f"{name} {amount:g}" + (f"/{budgets[name]:g}" if name in budgets else "")
            for name, amount in used.items()
            if amount or name in budgets
        )
        rate = "" if record.allowance.rate is None else f"{record.allowance.rate:g}"
        table.add_row(record.id, Text(record.name), ",".join(record.rights), rate, today, _state(record))
    return table


def _state(record: "KeyRecord") -> str:
    if record.revoked_at is not None:
        return pick("revoked", "已撤销")
    if record.expires_at is None:
        return pick("valid", "有效")
    until = datetime.fromtimestamp(record.expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if record.is_valid(time.time()):
        return pick(f"until {until}", f"有效期至 {until}")
    return pick(f"expired {until}", f"已于 {until} 过期")
