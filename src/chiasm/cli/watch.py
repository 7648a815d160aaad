"""``chiasm watch``: keep a collection in step with a folder while this command runs."""

import threading

from rich.text import Text

from chiasm.cli import options
from chiasm.cli.console import emit, plain, progress, say
from chiasm.cli.index import Folder, told
from chiasm.errors import ChiasmError


def watch(
    folder: Folder,
    *,
    store: options.Store = options.DEFAULT_STORE,
    data_dir: options.DataDir = None,
    model: options.Model = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Index a folder and stay: what is added, changed, moved or removed is followed until Ctrl-C.

    A server does the same with `chiasm serve --watch FOLDER`.
    """
    from chiasm.cli.connection import connect
    from chiasm.library.watching import keep_in_step

    settings = options.read_settings(
        {"library.data_dir": data_dir, "model.source": model, "model.device": device}
    ).settings
    with connect(settings) as reached:
        reached.library.ensure_store(store)

        def bring() -> bool:
            try:
                with progress("indexing", "正在索引", as_json=as_json) as update:
                    report = reached.library.index_folder(store, folder.absolute(), update)
            except ChiasmError as error:
                say(f"error: {error.en}", f"错误：{error.zh}")
                return False
            emit(plain(report), lambda: Text(told(report)), as_json=as_json)
            return True

        say(f"watching {folder} (Ctrl-C ends it)", f"正在监视 {folder}（按 Ctrl-C 结束）")
        keep_in_step(folder, bring, threading.Event(), exclude=[settings.library.data_dir])
