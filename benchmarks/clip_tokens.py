"""CLIP's own tokenizer: our path beside transformers' and beside open_clip's, on 10,000 odd strings.

The vocabulary travels in the package open_clip_torch, which the project does not depend on:

    pip install --target /tmp/open-clip --no-deps open_clip_torch ftfy regex wcwidth
    python benchmarks/clip_tokens.py /tmp/open-clip
"""

import argparse
import gzip
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import transformers

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "preprocess"))

from test_parity_tokens import STRINGS

from chiasm.checkpoints.foreign import read_tokenizer
from chiasm.preprocess.config import TextPreprocess
from chiasm.preprocess.text import TextPreprocessor

POSITIONS = 77


def main() -> int:
    """Compare, print, and fail where transformers' ids are not ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="folder with the package open_clip")
    packages = parser.parse_args().packages
    sys.path.insert(0, str(packages))
    spec = importlib.util.spec_from_file_location(
        "open_clip_tokenizer", packages / "open_clip" / "tokenizer.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    original = module.SimpleTokenizer()
    letters = list(module.bytes_to_unicode().values())
    with tempfile.TemporaryDirectory() as folder:
        reference = published(packages / "open_clip" / "bpe_simple_vocab_16e6.txt.gz", letters, Path(folder))
        tokenizer, most = read_tokenizer(Path(folder), POSITIONS)
        prepare = TextPreprocessor(TextPreprocess(max_tokens=most), tokenizer)
        ours = [prepare(text)[0].tolist() for text in STRINGS]
        theirs = reference(STRINGS, truncation=True, max_length=POSITIONS)["input_ids"]
    begin, end = 49_406, 49_407
    openai = []
    for text in STRINGS:
        ids = [begin, *original.encode(text)][: POSITIONS - 1]
        openai.append([*ids, end])
    same = np.mean([a == b for a, b in zip(ours, theirs, strict=True)])
    close = np.mean([a == b for a, b in zip(ours, openai, strict=True)])
    print(f"{len(STRINGS)} strings: as transformers {same:.2%}, as open_clip (it mends texts) {close:.2%}")
    return 0 if same == 1 else 1


def published(vocabulary: Path, letters: list[str], folder: Path) -> transformers.PreTrainedTokenizerBase:
    """The folder as the hub has it: ``vocab.json`` and ``merges.txt`` → ``tokenizer.json``."""
    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")
    pairs = lines[1 : 49_152 - 256 - 2 + 1]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair.split()) for pair in pairs)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")
    reference = transformers.CLIPTokenizer.from_pretrained(folder)
    reference.save_pretrained(folder)
    return reference


if __name__ == "__main__":
    sys.exit(main())
