"""The library and its model: those of the server that holds the data directory, else in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chiasm.cli.console import say
from chiasm.cli.processes import engine_beside
from chiasm.errors import NotFound, StoreError
from chiasm.preprocess import Embedder
from chiasm.preprocess.late import Prepares, ServedModel
from chiasm.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A library, what makes vectors for it and what prepares items for that.

    Attributes:
        library: ``chiasm.library.Library`` or its client.
        remote: whether they belong to a running server.
    """

    library: Any
    embedder: Embedder
    preprocessor: Prepares
    remote: bool

    def maker_for(self, store: str) -> ServedModel:
        """The model whose vectors a store has.

        Raises:
            NotFound: no such store, or its model is not here.
        """
        from chiasm.models.mini.served import served_model
        from chiasm.serving.client import EngineClient

        model = self.library.get_store(store).store.model
        if model is None:
            return ServedModel(embedder=self.embedder, preprocessor=self.preprocessor)
        if isinstance(self.embedder, EngineClient):
            return served_model(self.embedder.of(model))
        raise NotFound(
            f"store {store!r} has vectors of the model {model!r}: start `chiasm serve` "
            f"with --model {model}=SOURCE among its models",
            f"库 {store!r} 的向量来自模型 {model!r}：请先用 `chiasm serve --model {model}=来源` 提供该模型",
            param="model",
            code="model_not_found",
        )


@contextmanager
def connect(settings: Settings) -> Iterator[Connection]:
    """Reach the library of ``settings.library.data_dir``.

    Raises:
        StoreError: the directory is held by a process that does not answer others.
    """
    from chiasm.stores.lock import holder_of

    holder = holder_of(settings.library.data_dir)
    if holder is None:
        with _in_process(settings) as connection:
            yield connection
    elif holder.address is None:
        raise StoreError(
            f"{settings.library.data_dir} is in use by process {holder.pid}; "
            "wait for it or choose another --data-dir",
            f"{settings.library.data_dir} 正被进程 {holder.pid} 使用；请等它结束，或用 --data-dir 另选目录",
            param="library.data_dir",
            code="data_dir_locked",
        )
    else:
        with _remote(holder.address) as connection:
            yield connection


@contextmanager
def _remote(address: str) -> Iterator[Connection]:
    from chiasm.library.client import LibraryClient
    from chiasm.models.mini.served import served_model
    from chiasm.serving.client import EngineClient

    with LibraryClient(address) as library, EngineClient(engine_beside(address)) as engine:
        first = served_model(engine)
        yield Connection(library=library, embedder=engine, preprocessor=first.preprocessor, remote=True)


@contextmanager
def _in_process(settings: Settings) -> Iterator[Connection]:
    from chiasm.inference import load
    from chiasm.library.opening import open_library
    from chiasm.stores.lock import DataDirLock

    say("loading the model …", "正在加载模型……")
    chosen = settings.model
    with DataDirLock(settings.library.data_dir):
        model = load(chosen.first.source, device=chosen.device, precision=chosen.precision)
        with open_library(settings, model, preprocessor=model.preprocessor) as library:
            yield Connection(library=library, embedder=model, preprocessor=model.preprocessor, remote=False)
