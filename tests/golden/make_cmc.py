"""Make cmc.json: what the paper's own code computes, with seeded weights and memories, in two steps.

Run it from the repository's root, with the folder of a checkout of the paper's code:

    python tests/golden/make_cmc.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from seeded import state, values

ITEMS, DIM, COUNT, BATCH = 30, 8, 6, 4
PLACES = [[3, 17, 0, 29], [5, 3, 17, 8]]
DRAWN = [
    [[place, *((7 * place + 5 * k + 3 * step) % ITEMS for k in range(COUNT))] for place in own]
    for step, own in enumerate(PLACES)
]


def main() -> None:
    """Write the file beside this script."""
    sys.path.insert(0, sys.argv[1])
    torch.Tensor.cuda = lambda self, *_: self  # type: ignore[method-assign]  # the code asks for a GPU
    from models.alexnet import alexnet
    from NCE.NCEAverage import NCEAverage
    from NCE.NCECriterion import NCECriterion, NCESoftmaxLoss

    found: dict[str, object] = {"items": ITEMS, "dim": DIM, "count": COUNT, "places": PLACES, "drawn": DRAWN}
    for objective in ("nce", "softmax"):
        contrast = NCEAverage.__new__(NCEAverage)
        torch.nn.Module.__init__(contrast)
        contrast.nLem, contrast.K, contrast.use_softmax = ITEMS, COUNT, objective == "softmax"
        contrast.register_buffer("params", torch.tensor([COUNT, 0.07, -1, -1, 0.5], dtype=torch.float64))
        for view in ("l", "ab"):
            contrast.register_buffer(f"memory_{view}", values(f"memory {view}", (ITEMS, DIM)).double() * 0.3)
        criterion = NCECriterion(ITEMS) if objective == "nce" else NCESoftmaxLoss()
        steps = []
        for step, (own, drawn) in enumerate(zip(PLACES, DRAWN, strict=True)):
            vectors = {
                view: torch.nn.functional.normalize(values(f"{view} {step}", (BATCH, DIM)).double(), dim=-1)
                for view in ("l", "ab")
            }
            out_l, out_ab = contrast(vectors["l"], vectors["ab"], torch.tensor(own), torch.tensor(drawn))
            steps.append([float(criterion(out_l)), float(criterion(out_ab))])
        found[objective] = {
            "losses": steps,
            "memory": {view: getattr(contrast, f"memory_{view}").tolist() for view in ("l", "ab")},
        }
    network = alexnet(feat_dim=DIM).eval()
    network.load_state_dict(state((name, list(value.shape)) for name, value in network.state_dict().items()))
    with torch.inference_mode():
        x = values("picture", (2, 3, 224, 224))
        found["shapes"] = [(name, list(value.shape)) for name, value in network.state_dict().items()]
        found["features"] = [part.tolist() for part in network(x)]
    Path(__file__).with_name("cmc.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
