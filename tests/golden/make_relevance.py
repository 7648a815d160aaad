"""Make relevance.json: the rules of "Generic Attention-model Explainability" (Chefer et al. 2021) on random
maps, by its authors' own functions.

    git clone https://github.com/hila-chefer/Transformer-MM-Explainability reference
    python tests/golden/make_relevance.py reference
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import torch

LAYERS, HEADS, TEXT, IMAGE, QUERIES = 2, 3, 4, 5, 3


def main() -> None:
    """Write the file beside this one."""
    folder = Path(sys.argv[1])
    co = _module(folder / "lxmert/lxmert/src/ExplanationGenerator.py")
    torch.manual_seed(0)
    made = {"co": _co_attention(co), "decoder": _decoder(co), "rollout": _rollout(co)}
    Path(__file__).with_name("relevance.json").write_text(json.dumps(made))


def _maps(queries: int, keys: int) -> tuple[torch.Tensor, torch.Tensor]:
    alpha = torch.randn(1, HEADS, queries, keys, dtype=torch.float64).softmax(dim=-1)
    return alpha, torch.randn_like(alpha)


def _co_attention(theirs: ModuleType) -> dict[str, object]:
    """Two streams: within each; then across, both at once, and within each again."""
    r_tt, r_ii = (torch.eye(n, dtype=torch.float64) for n in (TEXT, IMAGE))
    r_ti, r_it = (torch.zeros(a, b, dtype=torch.float64) for a, b in ((TEXT, IMAGE), (IMAGE, TEXT)))
    steps = []

    def given(name: str, queries: int, keys: int) -> torch.Tensor:
        alpha, grad = _maps(queries, keys)
        steps.append({"name": name, "alpha": alpha.tolist(), "grad": grad.tolist()})
        return theirs.avg_heads(alpha, grad)

    def within() -> None:
        nonlocal r_tt, r_ti, r_ii, r_it
        add_tt, add_ti = theirs.apply_self_attention_rules(r_tt, r_ti, given("tt", TEXT, TEXT))
        r_tt, r_ti = r_tt + add_tt, r_ti + add_ti
        add_ii, add_it = theirs.apply_self_attention_rules(r_ii, r_it, given("ii", IMAGE, IMAGE))
        r_ii, r_it = r_ii + add_ii, r_it + add_it

    within()
    for _ in range(LAYERS):
        add_ti, add_tt = theirs.apply_mm_attention_rules(r_tt, r_ii, r_it, given("ti", TEXT, IMAGE))
        add_it, add_ii = theirs.apply_mm_attention_rules(r_ii, r_tt, r_ti, given("it", IMAGE, TEXT))
        r_ti, r_tt, r_it, r_ii = r_ti + add_ti, r_tt + add_tt, r_it + add_it, r_ii + add_ii
        within()
    rows = [torch.cat([r_tt, r_ti], dim=1), torch.cat([r_it, r_ii], dim=1)]
    return {"text": TEXT, "image": IMAGE, "steps": steps, "relevance": torch.cat(rows).tolist()}


def _decoder(theirs: ModuleType) -> dict[str, object]:
    """An encoder, and queries that look at themselves and at it."""
    r_ii, r_qq = (torch.eye(n, dtype=torch.float64) for n in (IMAGE, QUERIES))
    r_qi = torch.zeros(QUERIES, IMAGE, dtype=torch.float64)
    steps = []

    def given(name: str, queries: int, keys: int) -> torch.Tensor:
        alpha, grad = _maps(queries, keys)
        steps.append({"name": name, "alpha": alpha.tolist(), "grad": grad.tolist()})
        return theirs.avg_heads(alpha, grad)

    for _ in range(LAYERS):
        r_ii = r_ii + given("ii", IMAGE, IMAGE) @ r_ii
    for _ in range(LAYERS):
        add_qq, add_qi = theirs.apply_self_attention_rules(r_qq, r_qi, given("qq", QUERIES, QUERIES))
        r_qq, r_qi = r_qq + add_qq, r_qi + add_qi
        nothing = torch.zeros(IMAGE, QUERIES, dtype=torch.float64)
        add_qi, _ = theirs.apply_mm_attention_rules(r_qq, r_ii, nothing, given("qi", QUERIES, IMAGE))
        r_qi = r_qi + add_qi
    return {"queries": QUERIES, "image": IMAGE, "steps": steps, "relevance": r_qi.tolist()}


def _rollout(theirs: ModuleType) -> dict[str, object]:
    maps = [_maps(TEXT, TEXT)[0] for _ in range(LAYERS)]
    found = theirs.compute_rollout_attention([alpha.mean(dim=1) for alpha in maps])
    return {"alphas": [alpha.tolist() for alpha in maps], "rollout": found[0].tolist()}


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
