"""Log lines for people and for machines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from chiasm.observe.carried import carrying
from chiasm.observe.logs import FIELDS, line_of, start_logging
from chiasm.settings import SettingsError, load_settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text_names_the_request_at_the_end_of_the_first_line(stream):
    start_logging("text", "engine", stream)
    with carrying({"request_id": "req_1"}):
        logging.getLogger("x").info("computed %d", 3)
    logging.getLogger("x").info("idle")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("engine INFO computed 3 [req_1]")
    assert second.endswith("engine INFO idle")


def test_json_is_one_object_a_line_whatever_is_in_it(stream):
    start_logging("json", "web", stream)
    with carrying({"request_id": "req_1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}):
        logging.getLogger("x").warning('two\nlines and "quotes" 红', extra={FIELDS: {"status": 200}})
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == 'two\nlines and "quotes" 红'
    assert (first["process"], first["level"], first["status"]) == ("web", "warning", 200)
    assert (first["request_id"], first["trace_id"]) == ("req_1", TRACE)
    assert "ValueError: broken" in second["traceback"]
    assert "request_id" not in second


def test_the_supervisor_speaks_the_same_way():
    assert line_of("text", "supervisor", "engine: started", 0.0) == "engine: started"
    line = json.loads(line_of("json", "supervisor", "engine: started", 1.5))
    assert (line["time"], line["message"]) == ("1970-01-01T00:00:01.500Z", "engine: started")


def test_another_format_is_refused():
    assert load_settings(flags={"server.log_format": "json"}).settings.server.log_format == "json"
    with pytest.raises(SettingsError, match="log_format: expected text or json, got 'xml'"):
        load_settings(environment={"CHIASM_SERVER_LOG_FORMAT": "xml"})
