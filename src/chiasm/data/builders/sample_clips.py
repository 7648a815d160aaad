"""Short clips of the sample library: a drawing that moves, grows or rolls."""

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chiasm.data.builders.sample_list import Motion

WIDTH, HEIGHT, FPS = 320, 240, 15


def write_clip(path: Path, motions: Sequence[Motion], drawing: Callable[[str], Image.Image]) -> None:
    """Write H.264 (``.mp4``) or VP9 (``.webm``), without sound."""
    vp9 = path.suffix == ".webm"
    options = {"crf": "34", "cpu-used": "2", "row-mt": "0"} if vp9 else {"crf": "27", "preset": "slow"}
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream("libvpx-vp9" if vp9 else "libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        # One thread: with more the same input may give other bytes.
        stream.codec_context.thread_count = 1
        for index, pixels in enumerate(frames(motions, drawing)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)


def frames(motions: Sequence[Motion], drawing: Callable[[str], Image.Image]) -> Iterator[NDArray[np.uint8]]:
    """The frames of one motion after the other: uint8 ``[HEIGHT, WIDTH, 3]``."""
    for motion in motions:
        count = round(motion.seconds * FPS)
        for index in range(count):
            yield _frame(motion, index / (count - 1), drawing(motion.start.drawing))


def _frame(motion: Motion, share: float, drawing: Image.Image) -> NDArray[np.uint8]:
    rows = np.linspace(motion.top, motion.bottom, HEIGHT)
    canvas = Image.fromarray(np.repeat(rows[:, None, :], WIDTH, axis=1).round().astype(np.uint8))
    eased = (1 - math.cos(math.pi * share)) / 2
    x, y, size = (
        getattr(motion.start, name) * (1 - eased) + getattr(motion.end, name) * eased
        for name in ("x", "y", "size")
    )
    scale = size * HEIGHT / max(drawing.size)
    wanted = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
    sprite = drawing.convert("RGBa").resize(wanted, Image.Resampling.BICUBIC).convert("RGBA")
    if motion.turns:
        sprite = sprite.rotate(360 * motion.turns * eased, Image.Resampling.BICUBIC)
    canvas.paste(sprite, (round(x * WIDTH - sprite.width / 2), round(y * HEIGHT - sprite.height / 2)), sprite)
    return np.asarray(canvas, dtype=np.uint8)
