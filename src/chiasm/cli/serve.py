"""``chiasm serve``: the supervisor over engine, library and web workers."""

import dataclasses
import os
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from chiasm.cli import options
from chiasm.cli.console import emit, pick, plain, say
from chiasm.errors import ChiasmError, SettingsError
from chiasm.observe.traces import expect_traceable
from chiasm.settings import LoadedSettings, ServerSettings, Settings, describe, flatten, without_password

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[
    int | None, typer.Option("--port", help="Port to listen on; 0 picks a free one.", show_default="8000")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Model to serve, [NAME=]SOURCE: a name (chiasm-mini, hf:OWNER/NAME) or a folder. "
        "May be repeated: the first answers where none is named, "
        "the others are loaded when they are asked for.",
        show_default="chiasm-mini",
    ),
]
Workers = Annotated[int | None, typer.Option("--workers", help="Web worker processes.", show_default="1")]
Watch = Annotated[
    list[Path] | None,
    typer.Option("--watch", help="Folder to keep the library in step with; may be repeated."),
]
PrintSettings = Annotated[
    bool, typer.Option("--print-settings", help="Print every setting and where it comes from, then exit.")
]


def serve(
    *,
    host: Host = None,
    port: Port = None,
    data_dir: options.DataDir = None,
    model: Models = None,
    workers: Workers = None,
    device: options.Device = None,
    watch: Watch = None,
    print_settings: PrintSettings = False,
    as_json: options.AsJson = False,
) -> None:
    """Start the server and the page; Ctrl-C ends it."""
    loaded = options.read_settings(
        {
            "server.host": host,
            "server.port": port,
            "server.workers": workers,
            "library.data_dir": data_dir,
            "model.source": model[0] if model else None,
            "model.others": tuple(model[1:]) if model else None,
            "model.device": device,
            "library.watch": tuple(path.absolute() for path in watch) if watch else None,
        }
    )
    if print_settings:
        emit(_settings_of(loaded), lambda: _settings_table(loaded), as_json=as_json)
        return
    loaded.settings.model.sources()  # of one name each, before anything starts
    expect_safe(loaded.settings.server, keyed=_keyed(loaded.settings))
    settings = with_free_port(loaded.settings)
    raise typer.Exit(_run(settings, as_json=as_json))


def expect_safe(server: ServerSettings, *, keyed: bool = False) -> None:
    """Refuse to be reachable from other machines while nobody has to show a key.

    Args:
        server: where it is to listen.
        keyed: whether there are keys.

    Raises:
        SettingsError: a host beyond loopback without ``server.allow_remote``; no worker.
    """
    if server.workers < 1:
        raise SettingsError(
            f"server.workers: expected at least 1, got {server.workers}",
            f"server.workers：至少为 1，实际为 {server.workers}",
            param="server.workers",
        )
    expect_traceable(server.otlp_endpoint)
    if keyed or server.allow_remote or is_loopback(server.host):
        return
    raise SettingsError(
        f"server.host: expected 127.0.0.1, ::1 or localhost, got {server.host}: there are no keys, "
        "so anybody who reaches the port could read and change everything. Make one with `chiasm keys "
        "create`; or, in a container or behind a proxy that asks for a password, set "
        "server.allow_remote = true (CHIASM_SERVER_ALLOW_REMOTE=true)",
        f"server.host：应为 127.0.0.1、::1 或 localhost，实际为 {server.host}。目前没有密钥，"
        "任何能连上该端口的人都可以读取和修改全部内容。请用 `chiasm keys create` 创建密钥；"
        "如在容器中运行，或前面有需要密码的代理，也可设置 server.allow_remote = true"
        "（CHIASM_SERVER_ALLOW_REMOTE=true）",
        param="server.host",
    )


def is_loopback(host: str) -> bool:
    """Whether every address that ``host`` means is this machine's own."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"server.host: expected an address of this machine, got {host!r}",
            f"server.host：应为本机地址，实际为 {host!r}",
            param="server.host",
        ) from error
    return all(str(address[0]) == "::1" or str(address[0]).startswith("127.") for *_, address in found)


def with_free_port(settings: Settings) -> Settings:
    """``settings`` with the port that will be used, after a look whether it is free.

    Raises:
        ChiasmError: it is taken.
        SettingsError: an address that this machine does not have, or a port that there is not.
    """
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OverflowError as error:
            raise SettingsError(
                f"server.port: expected 0 to 65535, got {port}",
                f"server.port：应为 0 至 65535，实际为 {port}",
                param="server.port",
            ) from error
        except OSError as error:
            raise ChiasmError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port",
                f"无法监听 {host}:{port}：{error.strerror}；请用 --port 另选端口",
                param="server.port",
                code="address_unavailable",
            ) from error
        free = int(trial.getsockname()[1])
    return dataclasses.replace(settings, server=dataclasses.replace(settings.server, port=free))


def _keyed(settings: Settings) -> bool:
    from chiasm.stores.keys import keys_exist

    return keys_exist(settings.library.data_dir)


def url_of(server: ServerSettings) -> str:
    """The address for the browser."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{bracketed}:{server.port}"


def _run(settings: Settings, *, as_json: bool) -> int:
    from chiasm.cli.processes import run_processes

    url = url_of(settings.server)
    data_dir = settings.library.data_dir.absolute()
    emit(
        {"url": url, "pid": os.getpid(), "data_dir": data_dir},
        lambda: pick(f"chiasm: {url}  (Ctrl-C ends it)", f"chiasm：{url}（按 Ctrl-C 结束）"),
        as_json=as_json,
    )
    return run_processes(settings, log=lambda line: say(line, line))


def _settings_of(loaded: LoadedSettings) -> dict[str, dict[str, object]]:
    help_of = describe()
    return {
        name: {"value": without_password(plain(value)), "origin": loaded.origins[name], "help": help_of[name]}
        for name, value in flatten(loaded.settings).items()
    }


def _settings_table(loaded: LoadedSettings) -> Table:
    table = Table(
        pick("setting", "设置"), pick("value", "值"), pick("from", "来源"), box=None, pad_edge=False
    )
    for name, value in flatten(loaded.settings).items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else without_password(str(value))
        table.add_row(name, shown, loaded.origins[name])
    return table
