"""What a request takes along wherever it goes: its id, and its place in a trace.

Both are short strings, so that they cross from process to process as they are, whether anybody traces or not.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TypeVar

Carried = Mapping[str, str]
T = TypeVar("T")
R = TypeVar("R")

REQUEST_ID = "request_id"
TRACEPARENT = "traceparent"
_FORMS = {
    REQUEST_ID: re.compile(r"[A-Za-z0-9._:-]{1,128}"),
    # W3C Trace Context, version 00: version, trace id, parent id, flags
    TRACEPARENT: re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"),
}
NOTHING: Carried = MappingProxyType({})
_present: ContextVar[Carried] = ContextVar("chiasm.carried", default=NOTHING)


def carried() -> Carried:
    """What the work at hand carries; empty where nobody asked for it from outside."""
    return _present.get()


@contextmanager
def carrying(values: Carried) -> Iterator[None]:
    """Carry ``values``, and nothing else, in this thread."""
    token = _present.set(values)
    try:
        yield
    finally:
        _present.reset(token)


def well_formed(values: Mapping[str, object]) -> Carried:
    """Those of ``values`` that are known and of the right form; the others come from who knows where."""
    return {
        name: value
        for name, form in _FORMS.items()
        if isinstance(value := values.get(name), str) and form.fullmatch(value)
    }


def in_other_threads(work: Callable[[T], R]) -> Callable[[T], R]:
    """``work``, carrying in whatever thread it runs what is carried here and now."""
    values = carried()

    def run(value: T) -> R:
        with carrying(values):
            return work(value)

    return run
