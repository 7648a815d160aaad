"""The parent of the web processes: granian, which starts them and starts them again when they die.

It serves nothing itself, so it imports nothing that serves: that would double the memory.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from chiasm.observe.logs import JsonFormatter, LogFormat, TextFormatter, log_format
from chiasm.settings import Settings

if TYPE_CHECKING:
    from chiasm.api.gateway import Gateway

HEADER_SECONDS = 10
DRAIN_SECONDS = 10
STDERR = {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"}


def run_web(settings: Settings, engine: str, library: str) -> None:
    """Serve HTTP until SIGTERM or SIGINT, then finish what is in progress.

    Starts ``server.workers`` processes and starts them again when they die.

    Args:
        settings: ``server`` says where to listen and with how many threads.
        engine: address of the engine.
        library: address of the library process.
    """
    server = settings.server
    Granian(
        "chiasm.api.server:application",
        address=server.host,
        port=server.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        workers=max(1, server.workers),
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=DRAIN_SECONDS,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=1000 * HEADER_SECONDS),
        log_level=LogLevels.error,
        log_dictconfig={
            "handlers": {"console": STDERR, "access": STDERR},
            "formatters": dict.fromkeys(("generic", "access"), _formatter(log_format(server.log_format))),
        },
    ).serve(target_loader=partial(load, settings, engine, library), wrap_loader=False)


def _formatter(form: LogFormat) -> dict[str, Any]:
    return {"()": JsonFormatter if form == "json" else TextFormatter, "process": "web"}


def load(settings: Settings, engine: str, library: str) -> "Gateway":
    """The application, in a web process."""
    from chiasm.api.server import application  # noqa: PLC0415  (not in the parent)

    return application(settings, engine, library)
