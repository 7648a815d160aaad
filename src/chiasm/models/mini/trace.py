"""What chiasm-mini looked at in one part, pass by pass."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chiasm.modality import Modality
from chiasm.models.mini.audio import STRIDE
from chiasm.models.traced import (
    Looked,
    Traced,
    over_frames,
    over_pixels,
    pixel_leaf,
    trace_pixels,
    trace_text,
    unit,
)
from chiasm.nn.recorder import Recorder, record
from chiasm.nn.relevance import Flow, Step
from chiasm.preprocess.places import frame_places, patch_places, stretch_places
from chiasm.preprocess.prepared import PreparedPart

if TYPE_CHECKING:
    from chiasm.models.mini.model import ChiasmMini


def trace(model: "ChiasmMini", part: PreparedPart, seconds: float = 1.0) -> Traced:
    """One part through its tower, with gradients.

    Args:
        model: of this kind. part: prepared for it.
        seconds: how long a sound or clip is; spans of places are in them.
    """
    if part.modality is Modality.TEXT:
        return _text(model, part)
    if part.modality is Modality.IMAGE:
        return _picture(model, part)
    if part.modality is Modality.AUDIO:
        return _sound(model, part, seconds)
    return _clip(model, part, seconds)


def _text(model: "ChiasmMini", part: PreparedPart) -> Traced:
    def flow(t: int) -> Flow:
        pooled = Step(model.text_mean, [t], range(t))
        return Flow(groups=[*model.text.encoder.looks(range(t)), [pooled]], readers=[t], count=t + 1)

    return trace_text(part, lambda ids, mask: model.encode_text(ids, mask)[0], model.text.token, flow)


def _picture(model: "ChiasmMini", part: PreparedPart) -> Traced:
    tower = model.image
    return trace_pixels(
        part, lambda leaf: tower(leaf)[0], tower.flow(), tower.places(), device=model.device, seconds=0.0
    )


def _sound(model: "ChiasmMini", part: PreparedPart, seconds: float) -> Traced:
    with record(gradients=True) as recorder:
        vector_bd, looked = _heard(model, part, seconds, recorder)
    return Traced(vector=unit(vector_bd), passes=[looked])


def _heard(
    model: "ChiasmMini", part: PreparedPart, seconds: float, recorder: Recorder
) -> tuple[Tensor, Looked]:
    mel = torch.from_numpy(np.asarray(part.arrays["log_mel"], np.float32))
    leaf = mel.to(model.device)[None].requires_grad_()
    vector_bd = model.hear(leaf, torch.tensor([len(mel)], device=model.device), [part])[1]
    steps = -(-len(mel) // STRIDE)
    places = stretch_places(steps, seconds)
    flow = Flow(groups=[[Step(model.audio.pool, [steps], range(steps))]], readers=[steps], count=steps + 1)
    spread = over_frames(places, seconds)
    return vector_bd, Looked(flow=flow, recorder=recorder, places=[places], leaf=leaf, spread=spread)


def _clip(model: "ChiasmMini", part: PreparedPart, seconds: float) -> Traced:
    frames = part.arrays["pixels"]
    leaf = pixel_leaf(frames, model.device)
    with record(gradients=True) as recorder:
        vector_bd = model.encode_video(leaf[None])[0]
        passes = [_frames(model, leaf, seconds, recorder)]
        if len(frames) >= model.config.motion.span:
            passes.append(_motion(model, leaf, seconds, recorder))
        if "log_mel" in part.arrays:
            sound_bd, heard = _heard(model, part, seconds, recorder)
            vector_bd = model.beside(vector_bd, sound_bd)
            passes.append(heard)
    return Traced(vector=unit(vector_bd), passes=passes)


def _frames(model: "ChiasmMini", leaf: Tensor, seconds: float, recorder: Recorder) -> Looked:
    """What the shown frames show, one a row."""
    stride = model.config.motion.content_stride
    spans = [place.span for place in frame_places(len(leaf), seconds)][::stride]
    places = [[place._replace(span=span) for place in model.image.places()] for span in spans]
    each = over_pixels(places)

    def spread(leaf_fhwc: Tensor) -> Tensor:
        return each(leaf_fhwc[::stride])

    return Looked(flow=model.image.flow(), recorder=recorder, places=places, leaf=leaf, spread=spread)


def _motion(model: "ChiasmMini", leaf: Tensor, seconds: float, recorder: Recorder) -> Looked:
    """How they move: cells of small grey frames, from one frame to the next."""
    c = model.config.motion
    side, count = c.side // c.patch, len(leaf) - c.span + 1
    each = seconds / len(leaf)
    places = [
        place._replace(span=(step * each, (step + c.span) * each))
        for step in range(count)
        for place in patch_places(side, side)
    ]
    n = len(places)
    flow = Flow(
        groups=[*model.motion.encoder.looks(range(n)), [Step(model.motion.mean, [n], range(n))]],
        readers=[n],
        count=n + 1,
    )

    def spread(leaf_fhwc: Tensor) -> Tensor:
        cells = over_pixels([patch_places(side, side)] * len(leaf_fhwc))(leaf_fhwc)
        return cells.unfold(0, c.span, 1).sum(dim=-1).flatten()[None]

    return Looked(flow=flow, recorder=recorder, places=[places], leaf=leaf, spread=spread)
