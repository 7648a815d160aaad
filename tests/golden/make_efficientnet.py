"""Make efficientnet.json: what the reference implementation computes with seeded weights and pictures.

Needs the package ``efficientnet-lite-pytorch``; the tests do not. Run it from the repository's root:

    python tests/golden/make_efficientnet.py
"""

import json
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from seeded import pixels, state

CLASSES = 7
SIZES = ((64, 64), (65, 97), (70, 51))
"""Height and width of the pictures: even and odd, so that SAME padding falls on either side."""


def main() -> None:
    """Write the file beside this script."""
    model = EfficientNet.from_name("efficientnet-lite0", image_size=None, num_classes=CLASSES).eval()
    shapes = [(name, list(value.shape)) for name, value in model.state_dict().items()]
    model.load_state_dict(state(shapes))
    cases = []
    for height, width in SIZES:
        picture = pixels(f"picture {height}x{width}", (1, 3, height, width))
        with torch.inference_mode():
            head = model.extract_features(picture)
            logits = model(picture)
        cases.append(
            {
                "size": [height, width],
                "map": list(head.shape[2:]),
                "pooled": [round(float(v), 6) for v in head.mean(dim=(2, 3))[0, ::40]],
                "logits": [round(float(v), 6) for v in logits[0]],
            }
        )
    found = {"classes": CLASSES, "shapes": shapes, "cases": cases}
    Path(__file__).with_name("efficientnet.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
