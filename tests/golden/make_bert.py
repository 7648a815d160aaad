"""Make bert.json: what ``transformers.BertModel`` computes in a tiny shape on a padded batch.

Run it from the repository's root:

    python tests/golden/make_bert.py
"""

import json
from pathlib import Path
from typing import Any

import torch
from seeded import state
from transformers import BertConfig, BertModel

SHAPE = {"vocabulary": 40, "positions": 12, "width": 24, "depth": 2, "heads": 3, "hidden": 40}
IDS = [[2, 17, 5, 33, 9, 3, 11], [2, 8, 39, 3, 0, 0, 0]]
MASK = [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]]
TYPES = [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]


def reference() -> Any:
    """The published architecture in this shape, with seeded weights."""
    config = BertConfig(
        vocab_size=SHAPE["vocabulary"],
        max_position_embeddings=SHAPE["positions"],
        hidden_size=SHAPE["width"],
        num_hidden_layers=SHAPE["depth"],
        num_attention_heads=SHAPE["heads"],
        intermediate_size=SHAPE["hidden"],
    )
    model = BertModel(config).eval()
    model.load_state_dict(state((name, list(value.shape)) for name, value in model.state_dict().items()))
    return model


def main() -> None:
    """Write the file beside this script."""
    model = reference()
    ids, mask, types = torch.tensor(IDS), torch.tensor(MASK), torch.tensor(TYPES)
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
    found = {
        "shape": SHAPE,
        "shapes": [(name, list(value.shape)) for name, value in model.state_dict().items()],
        "ids": IDS,
        "mask": MASK,
        "types": TYPES,
        "states": [[[round(float(v), 6) for v in row] for row in own] for own in states],
    }
    Path(__file__).with_name("bert.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
