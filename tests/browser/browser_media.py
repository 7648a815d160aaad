"""Small real media, made here."""

import io
import wave
from pathlib import Path

import av
import numpy as np
from PIL import Image

from chiasm.library import Library

RGB = {"red": (210, 30, 40), "green": (40, 170, 70), "blue": (40, 80, 210)}


def png(colour: str) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (160, 120), RGB[colour]).save(out, "PNG")
    return out.getvalue()


def wav(hertz: int, seconds: float = 1.0, rate: int = 16_000) -> bytes:
    """A tone."""
    samples = np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 20_000).astype("<i2").tobytes())
    return out.getvalue()


def webm(*colours: str, seconds_each: int = 6) -> bytes:
    """A video that shows each colour in turn, one frame a second."""
    out = io.BytesIO()
    with av.open(out, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=1)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for colour in colours:
            picture = np.full((120, 160, 3), RGB[colour], np.uint8)
            for _ in range(seconds_each):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


SAMPLE = {
    "red-apple.png": png("red"),
    "green-leaf.png": png("green"),
    "whistle.wav": wav(1500),
    "hum.wav": wav(110),
    "green-then-red.webm": webm("green", "red"),
    "orchard.md": b"# Red apple\n\nOrchard.\n",
}


def fill(library: Library, store: str) -> None:
    """A store with one of each kind and a little more."""
    library.create_store(store)
    for name, data in SAMPLE.items():
        entry = library.add_file(store, data, name)
        assert entry.status == "completed", (name, entry.problem)


def write(folder: Path, **files: bytes) -> list[Path]:
    """Files to choose or drop; ``__`` stands for the dot of the extension."""
    paths = []
    for name, data in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(data)
        paths.append(path)
    return paths
