"""The main module of every supervised process: ``python -m chiasm.serving.child``."""

import logging
import os
import sys
from typing import BinaryIO

from chiasm.errors import CheckpointError, ChiasmError, SettingsError, StoreError
from chiasm.observe.logs import start_logging
from chiasm.serving.lifeline import die_with_parent, start_guard, watch_pipe
from chiasm.serving.memory import keep_lean
from chiasm.serving.resolve import resolve
from chiasm.serving.specs import CANNOT_WORK, Order, arguments, read_order

logger = logging.getLogger(__name__)


def main() -> int:
    """Take the order, tie this process to the supervisor, run the target; the exit status."""
    with open(os.dup(0), "rb", buffering=0) as stream:
        try:
            order = read_order(stream)
        except SettingsError as error:
            print(error.en, file=sys.stderr)
            return CANNOT_WORK
        _tie(order, stream)
        start_logging(order.log_format, order.name)
        return _run(order)


def _tie(order: Order, stream: BinaryIO) -> None:
    if order.spawns:
        start_guard(stream.fileno())
    else:
        die_with_parent(order.parent)
        watch_pipe(stream.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _run(order: Order) -> int:
    keep_lean()
    try:
        function = resolve(order.target)
        function(**arguments(function, order.args))
    except (SettingsError, CheckpointError, StoreError) as error:
        _say(order, error)
        return CANNOT_WORK
    except ChiasmError as error:
        _say(order, error)
        return 1
    return 0


def _say(order: Order, error: ChiasmError) -> None:
    if order.log_format == "json":
        logger.error("%s", error.en)
    else:
        print(f"{order.name}: {error.en}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
