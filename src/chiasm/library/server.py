"""The library over the wire: the handlers that its process gives to the rpc server."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from chiasm.errors import InvalidInput
from chiasm.jobs.client import JobsClient
from chiasm.library.figures import figures_of
from chiasm.library.library import Library
from chiasm.library.protocol import (
    ARRAY_ARGUMENTS,
    FIGURES,
    JOB_METHODS,
    JOB_PREFIX,
    LIBRARY_METHODS,
    RECORD_ARGUMENTS,
    pack,
)
from chiasm.serving.rpc import Handler

Arrays = Sequence[NDArray[Any]]


def handlers(library: Library, jobs: JobsClient) -> dict[str, Handler]:
    """One handler for each method that :class:`~chiasm.library.client.LibraryClient` calls."""
    of_library = {name: _handler(getattr(library, name), name) for name in LIBRARY_METHODS}
    of_jobs = {JOB_PREFIX + name: _handler(getattr(jobs, name), name) for name in JOB_METHODS}
    figures = figures_of(library, jobs)
    return {**of_library, **of_jobs, FIGURES: lambda _payload, _arrays: (pack(figures()), ())}


def _handler(method: Callable[..., Any], name: str) -> Handler:
    def handle(payload: dict[str, Any], arrays: list[NDArray[Any]]) -> tuple[dict[str, Any], Arrays]:
        arguments = _arguments(name, payload, arrays)
        try:
            return pack(method(**arguments)), ()
        except TypeError as error:
            raise InvalidInput(
                f"expected arguments of {name}, got {sorted(arguments)}: {error}",
                f"{name} 的参数有误，实际为 {sorted(arguments)}：{error}",
            ) from error

    return handle


def _arguments(name: str, payload: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    arguments = {str(key): value for key, value in payload.items()}
    if name in RECORD_ARGUMENTS:
        field, kind = RECORD_ARGUMENTS[name]
        arguments[field] = msgspec.convert(arguments.get(field), kind)
    taken = ARRAY_ARGUMENTS.get(name)
    if taken is None:
        return arguments
    if taken != "source":
        arguments[taken] = arrays[0] if arrays else np.empty(0, np.float32)
    elif arrays:
        arguments[taken] = arrays[0].tobytes()
    else:
        arguments[taken] = Path(str(arguments.get(taken, "")))
    return arguments
