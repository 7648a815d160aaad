"""Which models a server has: those of its settings, and those that were added while it ran.

The latter are in a file of the data directory. Each process reads it again when it has changed, so that none
has to tell the others.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from chiasm.errors import Conflict, InvalidInput, NotFound
from chiasm.settings import NamedSource, Settings, short_name

T = TypeVar("T")
logger = logging.getLogger(__name__)

FILE = "models.json"
MOST = 64


class Registry:
    """Thread-safe.

    Args:
        settings: the models of ``model.others``, and the data directory.
    """

    def __init__(self, settings: Settings) -> None:
        first, *others = settings.model.sources()
        self._first = first.name or short_name(first.source)
        self._set = {one.name: one.source for one in others}
        self._path = settings.library.data_dir / FILE
        self._lock = threading.Lock()
        self._read: tuple[int, int] | None = None
        self._added: Mapping[str, str] = {}

    def sources(self) -> dict[str, str]:
        """Where each model but the first is, by name."""
        with self._lock:
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self._read, self._added = None, {}
            else:
                if self._read != (status.st_mtime_ns, status.st_ino):
                    self._added = _parsed(self._path)
                    self._read = (status.st_mtime_ns, status.st_ino)
            return {**self._added, **self._set}

    def added(self, name: str) -> bool:
        """Whether a model was added while the server ran."""
        return name in self.sources() and name not in self._set

    def expect_free(self, one: NamedSource) -> None:
        """Whether a model could be added; one of the same name and source may be there.

        Raises:
            Conflict: another model has the name.
            InvalidInput: there are too many, or it is no name.
        """
        if NamedSource.parse(f"{one.name}={one.source}") != one:
            raise InvalidInput(
                f"expected a name of letters, digits, '.', '_' and '-', got {one.name!r}",
                f"名称只能由字母、数字、“.”、“_”和“-”组成，实际为 {one.name!r}",
                param="name",
            )
        there = self.sources()
        if one.name == self._first or there.get(one.name, one.source) != one.source:
            raise Conflict(
                f"there is another model named {one.name!r}",
                f"已有名为 {one.name!r} 的其他模型",
                param="name",
            )
        if len(there) >= MOST:
            raise InvalidInput(f"expected at most {MOST} models", f"最多 {MOST} 个模型", param="name")

    def add(self, one: NamedSource) -> None:
        """Add a model for good; raises as :meth:`expect_free` does."""
        self.expect_free(one)
        if one.name not in self.sources():
            self._write({**self._added, one.name: one.source})

    def remove(self, name: str) -> None:
        """Serve a model that was added no more; its files stay.

        Raises:
            NotFound: none of this name was added.
        """
        if not self.added(name):
            raise NotFound(
                f"there is no model {name[:100]!r} that was added here",
                f"没有在此添加的模型 {name[:100]!r}",
                param="model",
                code="model_not_found",
            )
        self._write({key: value for key, value in self._added.items() if key != name})

    def _write(self, models: Mapping[str, str]) -> None:
        part = self._path.with_name(f"{FILE}.{os.getpid()}.part")
        part.write_text(json.dumps(models, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(self._path)


class Live(Mapping[str, T], Generic[T]):
    """Something for each model but the first, made when it is first asked for, and anew for another source.

    Args:
        make: of a name and a source.
    """

    def __init__(self, registry: Registry, make: Callable[[NamedSource], T]) -> None:
        self._registry = registry
        self._make = make
        self._made: dict[NamedSource, T] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> T:
        one = NamedSource(name=name, source=self._registry.sources()[name])
        with self._lock:
            if one not in self._made:
                self._made = {key: made for key, made in self._made.items() if key.name != name}
                self._made[one] = self._make(one)
            return self._made[one]

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry.sources())

    def __len__(self) -> int:
        return len(self._registry.sources())


def _parsed(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            return {str(name): source for name, source in found.items()}
        logger.error("%s: expected names with sources; it is not used", path)
    except (OSError, ValueError) as error:
        logger.error("%s cannot be read and is not used: %s", path, error)
    return {}
