"""Answers that go on for long: the event loop looks for what is new and hands it to the reader."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from chiasm.api.events import HEARTBEAT, HEARTBEAT_SECONDS, LONGEST_SECONDS, LOOK_SECONDS, Follower

if TYPE_CHECKING:
    from chiasm.api.gateway import Answer, Exchange

LOOKERS = 2  # threads that look, for all streams of a process


async def follow(
    follower: Follower,
    answer: "Answer",
    exchange: "Exchange",
    lookers: ThreadPoolExecutor,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Send ``answer``, and then what ``follower`` finds, until it ends or the reader leaves.

    Args:
        follower: looked at in ``lookers``, closed at the end, whatever happens.
        answer: the head and the first events; refusals come this way, too, and end at once.
        clock: seconds, monotonic.
    """
    gone = asyncio.ensure_future(exchange.client_disconnect())
    try:
        headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
        transport = exchange.response_stream(answer.status, headers)
        await transport.send_bytes(answer.block)
        begun = spoken = clock()
        ended = answer.status != 200
        loop = asyncio.get_running_loop()
        while not ended and clock() - begun < LONGEST_SECONDS:
            await asyncio.wait({gone}, timeout=LOOK_SECONDS)
            if gone.done():
                return
            text, ended = await loop.run_in_executor(lookers, follower.look)
            if not text and clock() - spoken >= HEARTBEAT_SECONDS:
                text = HEARTBEAT
            if text:
                await transport.send_bytes(text)
                spoken = clock()
    except RuntimeError:
        pass  # granian's: the client has left
    finally:
        follower.close()
        gone.cancel()
        with suppress(asyncio.CancelledError, RuntimeError):
            await gone
