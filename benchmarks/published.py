"""Published models in chiasm beside the same models in transformers, which serves them by default with SDPA.

Random weights of the published shapes; both sides get ready inputs (pixels, token ids), have the same
precision and threads, and take turns. Prints a table of medians; ends with 1 if a row is below 1.0.

    python benchmarks/published.py [--threads 2] [--rounds 40] [--quick]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn

from chiasm.checkpoints.clap import UNUSED_POSITIONS, clap_config
from chiasm.checkpoints.published import convert_bert, convert_clip, convert_vit
from chiasm.checkpoints.shapes import Table, bert_config, clip_config, llama_config, vit_config
from chiasm.checkpoints.whisper import whisper_config
from chiasm.evaluation.speed.subject import turns
from chiasm.inference import optimise
from chiasm.models.bert.sentence import SentenceEncoder
from chiasm.models.clap.import_weights import convert as convert_clap
from chiasm.models.clap.model import Clap
from chiasm.models.clip.model import Clip
from chiasm.models.generate import greedy
from chiasm.models.llama.import_weights import convert as convert_llama
from chiasm.models.llama.model import Llama
from chiasm.models.vit.encoder import PictureEncoder
from chiasm.models.whisper.import_weights import convert as convert_whisper
from chiasm.models.whisper.model import Whisper

Ours = TypeVar("Ours", bound=nn.Module)
HALF = (0.5, 0.5, 0.5)
BATCHES = (1, 8, 32)
TOKENS = 64


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way in: what runs here and there, at a batch size."""

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    batch: int


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--generation", action="store_true", help="only the decoder")
    parser.add_argument("--sounds", action="store_true", help="only CLAP and Whisper")
    parser.add_argument("--agreement", action="store_true", help="cosines of bfloat16 with float32 instead")
    parser.add_argument("--quick", action="store_true", help="few rounds, batches of one")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.agreement:
        return agreement()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {given.threads} threads\n")
    print("| what | precision | batch | chiasm, ms | transformers, ms | ratio | rounds |")
    print("|---|---|---|---|---|---|---|")
    ratios = []
    with torch.inference_mode():
        for kind in (torch.float32, torch.bfloat16):
            batches = () if given.generation else BATCHES[:1] if given.quick else BATCHES
            for case in () if given.sounds else cases(kind, batches):
                ratios.append(_compare(case, kind, 2 if given.quick else max(5, given.rounds // case.batch)))
            for case in () if given.generation else sounds(kind, batches):
                ratios.append(_compare(case, kind, 2 if given.quick else 5))
            for case in () if given.sounds else generation(kind, 8 if given.quick else TOKENS):
                ratios.append(_compare(case, kind, 2 if given.quick else 5))
    return 0 if given.quick or min(ratios) >= 1 else 1


@torch.inference_mode()
def agreement() -> int:
    """The least cosine of vectors in bfloat16 with those in float32, random weights, four inputs each."""
    pixels = torch.randint(0, 256, (4, 224, 224, 3), dtype=torch.uint8)
    ids, mask, _ = _texts(4, 32)
    subjects = {
        "CLIP ViT-B/32, pictures": (_clip, lambda model: model.encode_image(pixels)),
        "CLIP ViT-B/32, texts": (_clip, lambda model: model.encode_text(ids, mask)),
        "ViT-B/16": (_vit, lambda model: model.vit.vector(pixels)),
        "MiniLM-L6": (_bert, lambda model: model(ids, mask)),
    }
    worst = 1.0
    for name, (make, run) in subjects.items():
        vectors = []
        for kind in (torch.float32, torch.bfloat16):
            torch.manual_seed(1)  # the same weights
            vectors.append(run(make(kind)[0]).float())
        cosine = float(nn.functional.cosine_similarity(*vectors, dim=-1).min())
        worst = min(worst, cosine)
        print(f"| {name} | {cosine:.6f} |", flush=True)
    return 0 if worst >= 0.9999 else 1


def _compare(case: Case, kind: torch.dtype, rounds: int) -> float:
    def ours(_: int) -> object:
        return case.ours()

    def theirs(_: int) -> object:
        return case.theirs()

    turns(ours, theirs, 1)
    taken = turns(ours, theirs, rounds)
    here, there = np.median(taken, axis=0) * 1000
    ratio = float(np.median(taken[:, 1] / taken[:, 0]))
    precision = str(kind).removeprefix("torch.")
    row = (case.name, precision, case.batch, f"{here:.1f}", f"{there:.1f}", f"{ratio:.2f}", rounds)
    print("| " + " | ".join(map(str, row)) + " |", flush=True)
    return ratio


def cases(kind: torch.dtype, batches: tuple[int, ...]) -> Iterator[Case]:
    """CLIP ViT-B/32 on pictures and texts, ViT-B/16, MiniLM-L6."""
    clip, clip_there = _clip(kind)
    vit, vit_there = _vit(kind)
    bert, bert_there = _bert(kind)
    for batch in batches:
        pixels = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8)
        ready = ((pixels.float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous().to(kind)
        yield Case(
            name="CLIP ViT-B/32, pictures", batch=batch,
            ours=lambda p=pixels: clip.encode_image(p),
            theirs=lambda p=ready: clip_there.get_image_features(pixel_values=p),
        )  # fmt: skip
        for tokens in (16, 77):
            ids, mask, long = _texts(batch, tokens)
            yield Case(
                name=f"CLIP ViT-B/32, {tokens} tokens", batch=batch,
                ours=lambda i=ids, m=mask: clip.encode_text(i, m),
                theirs=lambda i=ids, m=long: clip_there.get_text_features(input_ids=i, attention_mask=m),
            )  # fmt: skip
        yield Case(
            name="ViT-B/16", batch=batch,
            ours=lambda p=pixels: vit.vit.vector(p), theirs=lambda p=ready: vit_there(pixel_values=p),
        )  # fmt: skip
        ids, mask, long = _texts(batch, 64)
        yield Case(
            name="MiniLM-L6, 64 tokens", batch=batch,
            ours=lambda i=ids, m=mask: bert(i, m),
            theirs=lambda i=ids, m=long: bert_there(input_ids=i, attention_mask=m),
        )  # fmt: skip


def sounds(kind: torch.dtype, batches: tuple[int, ...]) -> Iterator[Case]:
    """CLAP's HTS-AT on ten seconds, and Whisper tiny's encoder on thirty."""
    clap, clap_there = _clap(kind)
    whisper, whisper_there = _whisper(kind)
    for batch in batches[:2]:
        frames = (20 * torch.randn(batch, 1001, 64) - 30).to(kind)
        yield Case(
            name="CLAP HTS-AT, 10 s", batch=batch,
            ours=lambda f=frames: clap.encode_audio(f),
            theirs=lambda f=frames: clap_there.get_audio_features(input_features=f[:, None]),
        )  # fmt: skip
        mel = torch.randn(batch, 3000, 80).to(kind)
        yield Case(
            name="Whisper tiny's encoder, 30 s", batch=batch,
            ours=lambda m=mel: whisper.encode(m),
            theirs=lambda m=mel: whisper_there.encoder(m.transpose(1, 2)),
        )  # fmt: skip


def generation(kind: torch.dtype, tokens: int) -> Iterator[Case]:
    """A decoder of SmolLM2-135M's shape goes on from a prompt, the likeliest token each time, cached."""
    shape = transformers.LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    there = transformers.LlamaForCausalLM(shape).eval()
    ours = Llama(llama_config(Table(there.config.to_dict()), "llama"))
    ours = _ready(ours, convert_llama(there.state_dict(), tied=True), kind)
    there = there.to(kind)
    ids = torch.randint(5, 20_000, (1, 32))
    rest = {
        "attention_mask": torch.ones_like(ids),
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    yield Case(
        name=f"SmolLM2-135M's shape, {tokens} new tokens", batch=1,
        ours=lambda: list(greedy(ours, ids, tokens)),
        theirs=lambda: there.generate(input_ids=ids, max_new_tokens=tokens, min_new_tokens=tokens, **rest),
    )  # fmt: skip


def _texts(batch: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.ones((batch, tokens), dtype=torch.bool)
    return torch.randint(5, 20_000, (batch, tokens)), mask, mask.long()


def _clip(kind: torch.dtype) -> tuple[Clip, nn.Module]:
    there = transformers.CLIPModel(transformers.CLIPConfig()).eval()
    ours = Clip(clip_config(Table(_written(there)), "clip", HALF, HALF))
    return _ready(ours, convert_clip(there.state_dict()), kind), there.to(kind)


def _vit(kind: torch.dtype) -> tuple[PictureEncoder, nn.Module]:
    there = transformers.ViTModel(transformers.ViTConfig(), add_pooling_layer=False).eval()
    ours = PictureEncoder(vit_config(Table(_written(there)), HALF, HALF))
    state = {f"vit.{name}": tensor for name, tensor in convert_vit(_published(there)).items()}
    return _ready(ours, state, kind), there.to(kind)


def _bert(kind: torch.dtype) -> tuple[SentenceEncoder, nn.Module]:
    shape = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    there = transformers.BertModel(shape, add_pooling_layer=False).eval()
    ours = SentenceEncoder(bert_config(Table(_written(there))))
    state = {f"bert.{name}": tensor for name, tensor in convert_bert(there.state_dict()).items()}
    return _ready(ours, state, kind), there.to(kind)


def _clap(kind: torch.dtype) -> tuple[Clap, nn.Module]:
    there = transformers.ClapModel(transformers.ClapConfig()).eval()
    ours = Clap(clap_config(Table(there.config.to_dict())))
    return _ready(ours, convert_clap(there.state_dict(), UNUSED_POSITIONS), kind), there.to(kind)


def _whisper(kind: torch.dtype) -> tuple[Whisper, nn.Module]:
    there = transformers.WhisperModel(transformers.WhisperConfig()).eval()
    ours = Whisper(whisper_config(Table(there.config.to_dict())))
    return _ready(ours, convert_whisper(there.state_dict()), kind), there.to(kind)


def _written(model: nn.Module) -> dict:
    return model.config.to_diff_dict()


def _published(model: nn.Module) -> dict[str, Tensor]:
    """The tensors by the names that are published, which are not always those of the newest library."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def _ready(ours: Ours, state: dict[str, Tensor], kind: torch.dtype) -> Ours:
    ours.load_state_dict(state)
    ours.eval().requires_grad_(False).to(kind)
    optimise(ours)
    return ours


if __name__ == "__main__":
    sys.exit(main())
