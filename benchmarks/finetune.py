"""Seconds of an epoch of fine-tuning a CLIP of ViT-B/32's shape (random weights) on JPEGs of 640 x 480.

All of it trained, beside the text tower alone with the picture tower locked, whose features are computed
once (`--train text`), and beside the same with random cuts, which have to be computed anew every time. A step
is the median from one to the next, decoding included; saving and what comes once are not in it.

    python benchmarks/finetune.py [--pairs 256] [--batch 32] [--threads 2] [--device cpu] [--quick]
"""

import argparse
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from chiasm.evaluation.speed.subject import write_jpegs
from chiasm.training.finetune import FinetuneConfig, finetune

WORDS = 400
NUMBERS = {
    "do_resize": True, "size": {"shortest_edge": 224}, "do_center_crop": True, "resample": 3,
    "crop_size": {"height": 224, "width": 224}, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28],
}  # fmt: skip
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("all", {"part": "all"}),
    ("text, cuts", {"part": "text", "crop": 0.5}),
    ("text", {"part": "text"}),
    ("head", {"part": "head"}),
)


def main() -> int:
    """Run every way once, for two epochs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="few pairs")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pairs, batch = (16, 8) if given.quick else (given.pairs, given.batch)
    print(f"torch {torch.__version__}, {given.device}, {given.threads} threads, {pairs} pairs by {batch}\n")
    print(
        "| trained | once: reading, features, s | a step, s | steps/s | an epoch, s | ten epochs in all, s |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_source(folder / "clip")
        write_data(folder / "data", pairs)
        for name, options in WAYS:
            once, step = measure(folder, name, options, batch, given)
            epoch = step * (pairs // batch)
            row = (
                name,
                f"{once:.1f}",
                f"{step:.3f}",
                f"{1 / step:.2f}",
                f"{epoch:.1f}",
                f"{once + 10 * epoch:.0f}",
            )
            print("| " + " | ".join(row) + " |", flush=True)
    return 0


def measure(
    folder: Path, name: str, options: dict[str, Any], batch: int, given: argparse.Namespace
) -> tuple[float, float]:
    """Seconds until the first step can be taken, and the median of the steps', the first two left out."""
    began = time.perf_counter()
    marks: list[tuple[str, float]] = []
    config = FinetuneConfig(batch=batch, epochs=2, hold_out=0.0, threads=given.threads, **options)
    finetune(
        folder / "clip",
        folder / "data",
        folder / name.replace(", ", "-"),
        config=config,
        device=given.device,
        stop=lambda: marks.append(("step", time.perf_counter())) or False,
        log=lambda entry: marks.append((entry["stage"], time.perf_counter())),
    )
    passes = [at for stage, at in marks if stage in {"pictures", "texts"}]
    after = [at for stage, at in marks if stage == "step" and at > passes[-1]]
    steps = sorted(b - a for a, b in pairwise(after[1:]))
    return passes[-1] - began, steps[len(steps) // 2]


def write_source(folder: Path) -> None:
    """The shape, random weights, a tokenizer of whole words."""
    torch.manual_seed(0)
    transformers.CLIPModel(transformers.CLIPConfig()).save_pretrained(folder)
    words = {"<start>": 0, "<end>": 1, **{f"w{n}": n + 2 for n in range(WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps(NUMBERS))


def write_data(folder: Path, pairs: int) -> None:
    """Pictures with the detail of photographs, and fourteen words for each."""
    lines = [
        json.dumps({"file": path.name, "text": " ".join(f"w{(7 * n + 31 * k) % WORDS}" for k in range(14))})
        for n, path in enumerate(write_jpegs(folder, pairs))
    ]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
