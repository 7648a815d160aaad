"""Log lines, for people or for machines; either way with the id of the request that they are about."""

import json
import logging
import os
import sys
import time
from typing import IO, Any, Literal, cast

from chiasm.observe.carried import REQUEST_ID, TRACEPARENT, carried

LogFormat = Literal["text", "json"]
FIELDS = "fields"  # of a record: what a machine wants to read one by one


class TextFormatter(logging.Formatter):
    """``time process LEVEL message [request id]``."""

    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s {process} %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's)
        """The first line."""
        line = super().formatMessage(record)
        request_id = carried().get(REQUEST_ID)
        return f"{line} [{request_id}]" if request_id else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The whole line; a traceback is one of its strings."""
        line: dict[str, Any] = {
            "time": _iso(record.created),
            "process": self._process,
            "pid": os.getpid(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _whose() | getattr(record, FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def start_logging(form: LogFormat, process: str, stream: IO[str] | None = None) -> None:
    """Send this process's log lines to ``stream`` (standard error by default), and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process) if form == "json" else TextFormatter(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def line_of(form: LogFormat, process: str, message: str, now: float) -> str:
    """A line of a process that has no logging: its message, or the same as JSON."""
    if form == "text":
        return message
    record = {"time": _iso(now), "process": process, "pid": os.getpid(), "level": "info", "message": message}
    return json.dumps(record, ensure_ascii=False)


def log_format(name: str) -> LogFormat:
    """``name`` as a type; settings have checked it."""
    return cast(LogFormat, name)


def _whose() -> dict[str, str]:
    present = carried()
    found = {REQUEST_ID: present[REQUEST_ID]} if REQUEST_ID in present else {}
    if TRACEPARENT in present:
        found["trace_id"] = present[TRACEPARENT].split("-")[1]
    return found


def _iso(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
