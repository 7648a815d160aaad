"""Drawn pictures of coloured shapes with a caption each."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 50), "blue": (40, 60, 220), "yellow": (235, 210, 40)}
SHAPES = ("circle", "square", "triangle")


def draw(colour: str, shape: str, rng: np.random.Generator, side: int = 48) -> Image.Image:
    """One shape somewhere on a nearly white ground."""
    picture = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(235, 256, 3)))
    size = int(rng.integers(side // 2, side * 3 // 4))
    left, top = (int(v) for v in rng.integers(0, side - size, 2))
    pen, box = ImageDraw.Draw(picture), (left, top, left + size, top + size)
    if shape == "circle":
        pen.ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        pen.rectangle(box, fill=COLOURS[colour])
    else:
        corners = [(left, top + size), (left + size, top + size), (left + size // 2, top)]
        pen.polygon(corners, fill=COLOURS[colour])
    return picture


def write_pairs(folder: Path, rounds: int = 4, seed: int = 0) -> list[dict[str, str]]:
    """``rounds`` pictures of each of twelve things, and the list ``metadata.jsonl``; its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for turn in range(rounds):
        for colour in COLOURS:
            for shape in SHAPES:
                name = f"{colour}-{shape}-{turn}.png"
                draw(colour, shape, rng).save(folder / name)
                rows.append({"file_name": name, "text": f"a {colour} {shape}"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return rows
