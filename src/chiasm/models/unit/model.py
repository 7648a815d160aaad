"""UniT (Hu & Singh 2021, fig. 2): two encoders, a decoder with queries of the task, and a head for each task.

What the encoders make of a picture, a text or both is one memory; the queries of a task look at themselves
and at it, and after every block of the decoder they can be read by the task's head.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chiasm.errors import InvalidInput
from chiasm.models.batching import pad_ids
from chiasm.models.pairs import Answer, Detection, PairBatch, Pictures, likeliest, over_pairs, pad_pixels
from chiasm.models.traced_pair import PairFlow, TracedPair, log_odds, trace_pair
from chiasm.models.unit.config import Kind, TaskConfig, UnitConfig
from chiasm.models.unit.encoder import Memory, PictureEncoder, PositionedBlock, Size, TextEncoder
from chiasm.models.unit.heads import AnswerHead, DetectionHead, Detections
from chiasm.nn.blocks import BlockConfig
from chiasm.nn.losses.detection import Objects, SetWeights
from chiasm.nn.relevance import Positions, Step
from chiasm.preprocess.places import Place, patch_places
from chiasm.preprocess.prepared import PreparedPart


class UnitStates(NamedTuple):
    """What the queries of a task found, and what they looked at.

    Attributes:
        task: its name.
        layers: normalised states ``[b, q, width]`` of the queries after each block of the decoder.
        grid: rows and columns of the cells of pictures; (0, 0) without pictures.
        tokens: how many states of the text there are behind the cells.
        mask_bs: where the memory is real; None: all is.
        shown: pixels that the cells cover. sizes: of each picture in them; None: all.
    """

    task: str
    layers: tuple[Tensor, ...]
    grid: Size
    tokens: int
    mask_bs: Tensor | None
    shown: Size = (0, 0)
    sizes: tuple[Size, ...] | None = None

    def vector(self) -> Tensor:
        """What stands for all of it, ``[b, width]``: the last state of the first query."""
        return self.layers[-1][:, 0]

    def places(self, row: int) -> list[Place]:
        """What the positions of one row's memory are: cells of the picture row by row, then tokens.

        Cells that pad have no box. Columns of the decoder's recorded attention across are in this order; rows
        and columns of the picture's encoder have the task's token before the cells.
        """
        tokens = [Place("token", n) for n in range(self.tokens)]
        cells = patch_places(*self.grid)
        if self.sizes is None or self.sizes[row] == self.shown:
            return [*cells, *tokens]
        assert self.mask_bs is not None
        (height, width), real = self.sizes[row], self.mask_bs[row].tolist()
        across, down = (
            all_ / max(own, 1) for all_, own in zip(self.shown[::-1], (width, height), strict=True)
        )
        fitted = []
        for place in cells:
            assert place.box is not None
            left, top, right, bottom = place.box
            box = (left * across, top * down, min(right * across, 1.0), min(bottom * down, 1.0))
            fitted.append(Place("patch", place.number, box if real[place.number] else None))
        return [*fitted, *tokens]


class Decoder(nn.Module):
    """Queries, at first zeros at learnt positions, through blocks that look at the memory (Carion et al.
    2020, fig. 10)."""

    def __init__(self, config: BlockConfig, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PositionedBlock(config) for _ in range(depth))
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)

    def forward(self, query_nd: Tensor, memory: Memory) -> tuple[Tensor, ...]:
        """Learnt positions ``[queries, width]`` → normalised states ``[b, queries, width]`` of each block."""
        positions_bqd = query_nd.expand(len(memory.values_bsd), -1, -1)
        x_bqd, layers = torch.zeros_like(positions_bqd), []
        for block in self.blocks:
            x_bqd = block(x_bqd, positions_bqd, None, memory)
            layers.append(self.norm(x_bqd))
        return tuple(layers)

    def looks(self, queries: Positions, memory: Positions) -> list[list[Step]]:
        """Who looks at whom, block by block."""
        return [block.looks(queries, memory) for block in self.blocks if isinstance(block, PositionedBlock)]


class Task(nn.Module):
    """What a task has to itself: its tokens in the encoders, its queries, its head."""

    def __init__(self, config: UnitConfig, task: TaskConfig) -> None:
        super().__init__()
        c = config
        self.config = task
        self.query_nd = nn.Parameter(torch.randn(task.queries, c.width))
        tokens = [
            nn.Parameter(torch.randn(width)) if c.task_tokens and side in task.modalities else None
            for side, width in (("picture", c.encoder_width), ("text", c.text.width))
        ]
        self.picture_token_d, self.text_token_d = tokens
        self.head = (
            DetectionHead(c.width, task.classes, task.attributes)
            if task.kind == "detection"
            else AnswerHead(c.width, task.classes, c.text.epsilon, several=task.several)
        )


class Unit(nn.Module):
    """All tasks of the configuration in one model."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.pictures = PictureEncoder(c) if c.needs("picture") else None
        self.texts = TextEncoder(c) if c.needs("text") else None
        names = ["shared"] if c.shared else [task.name for task in c.tasks]
        self.decoders = nn.ModuleDict({name: Decoder(c.block(across=True), c.depth) for name in names})
        self.tasks = nn.ModuleDict({task.name: Task(c, task) for task in c.tasks})

    def forward(
        self,
        task: str,
        pixels_bhwc: Tensor | None = None,
        ids_bt: Tensor | None = None,
        mask_bt: Tensor | None = None,
        *,
        sizes: Sequence[Size] | None = None,
        types_bt: Tensor | None = None,
    ) -> UnitStates:
        """What the queries of a task make of pictures, texts or both.

        Where a task is about both, one of them may be missing from the whole batch (None) or from rows of it
        (a size of (0, 0), a mask that is all False).

        Args:
            task: its name.
            pixels_bhwc: uint8; sizes: height and width of each picture, which lies in the upper left corner.
            ids_bt: token ids, [CLS] first. mask_bt: True at real tokens; all are without it.
            types_bt: which of two sentences each token is of; all of the first without it.

        Raises:
            ValueError: no such task, a modality that it is not about, neither modality, or inputs that do not
                fit.
        """
        own, picked = self.config.task(task), self._task(task)
        for side, given in (("picture", pixels_bhwc), ("text", ids_bt)):
            if given is not None and side not in own.modalities:
                raise ValueError(f"expected {' and '.join(own.modalities)} for {task!r}, got a {side}, too")
        sides: list[Memory] = []
        seen = None
        if pixels_bhwc is not None:
            assert self.pictures is not None
            memory, seen = self.pictures(pixels_bhwc, sizes, picked.picture_token_d)
            sides.append(memory)
        if ids_bt is not None:
            assert self.texts is not None
            sides.append(
                self.texts(
                    ids_bt, mask_bt=mask_bt, types_bt=types_bt, token_d=picked.text_token_d, seen=own.text
                )
            )
        memory = _joined(sides, own)
        layers = self._decoder(task)(picked.query_nd, memory)
        tokens = 0 if ids_bt is None else sides[-1].values_bsd.shape[1]
        if seen is None:
            return UnitStates(task, layers, (0, 0), tokens, memory.mask_bs)
        assert pixels_bhwc is not None
        shown = (pixels_bhwc.shape[1], pixels_bhwc.shape[2])
        kept = None if sizes is None else tuple(sizes)
        return UnitStates(task, layers, seen.grid, tokens, memory.mask_bs, shown, kept)

    def picture_places(self, height: int, width: int) -> list[Place]:
        """What the positions are of pictures of so many pixels: cells."""
        assert self.pictures is not None
        return patch_places(*self.pictures.grid(height, width))

    def flow(self, task: str, p: int, t: int, *, query: int = 0) -> PairFlow:
        """Who looks at whom among so many cells and then tokens, padding included: each encoder by itself,
        with the task's token, then the queries of the task, of which one is read.

        Raises:
            ValueError: no such task.
        """
        own, picked = self.config.task(task), self._task(task)
        picture, text = range(p), range(p, p + t)
        groups: list[list[Step]] = []
        count = p + t
        for positions, encoder, token_d in (
            (picture, self.pictures, picked.picture_token_d),
            (text, None if self.texts is None else self.texts.bert.encoder, picked.text_token_d),
        ):
            if positions and encoder is not None:
                groups += encoder.looks(positions if token_d is None else [count, *positions])
                count += token_d is not None
        queries = range(count, count + own.queries)
        memory = [*picture, *(text if own.text == "all" else text[:1])]
        groups += self._decoder(task).looks(queries, memory)
        return PairFlow(
            groups=groups,
            readers=[queries[query]],
            count=count + own.queries,
            picture=picture,
            text=text,
        )

    def trace_pair(
        self, picture: PreparedPart, text: PreparedPart, *, task: str | None = None, query: int | None = None
    ) -> TracedPair:
        """A pair with all that is looked at on its way through a task; without one, through the first that
        classifies a picture and a text.

        Of a task that classifies the logits are ``answer`` (``[classes]``); of one query of one that detects,
        ``object`` (``[classes + 1]``, "no object" last) and ``box`` (``[4]``, centre and size).

        Args:
            text: its tokens are not read where the task is about pictures alone.
            query: which to ask of a task that detects; the one that is surest of an object without it.

        Raises:
            InvalidInput: there is no task for pairs. ValueError: no such task, or it is not about pictures.
        """
        own = self._able("classification", text=True) if task is None else self.config.task(task)
        if "picture" not in own.modalities:
            raise ValueError(f"expected a task about pictures, got {own.name!r}")
        reads, chosen = "text" in own.modalities, [query or 0]

        def compute(pixels_bhwc: Tensor, ids_bt: Tensor) -> dict[str, Tensor]:
            states = self(own.name, pixels_bhwc, ids_bt if reads else None)
            if own.kind == "classification":
                logits_c = self.answers(states)[0]
                return {"answer": logits_c if own.several else log_odds(logits_c)}
            found = self.detections(states)
            if query is None:
                surest_q = found.logits_bqc[0].softmax(dim=-1)[:, :-1].amax(dim=-1)
                chosen[0] = int(surest_q.argmax())
            return {
                "object": log_odds(found.logits_bqc[0, chosen[0]]),
                "box": found.boxes_bq4[0, chosen[0]].logit(eps=1e-6),
            }

        embedding = nn.Identity() if self.texts is None else self.texts.bert.token
        return trace_pair(
            picture,
            text,
            compute,
            flow=lambda p, t: self.flow(own.name, p, t, query=chosen[0]),
            places=self.picture_places,
            embedding=embedding,
            device=next(self.parameters()).device,
            names={"answer": own.names} if own.kind == "classification" else {"object": own.names},
        )

    def detections(self, states: UnitStates, layer: int = -1) -> Detections:
        """What a detection task found, after the last or any block of the decoder.

        Raises:
            ValueError: the task detects nothing.
        """
        found: Detections = self._head(states.task, DetectionHead)(states.layers[layer])
        return found

    def answers(self, states: UnitStates, layer: int = -1) -> Tensor:
        """Logits ``[b, classes]`` of a classification task, after the last or any block of the decoder.

        Raises:
            ValueError: the task does not classify.
        """
        logits: Tensor = self._head(states.task, AnswerHead)(states.layers[layer][:, 0])
        return logits

    def detection_loss(
        self, states: UnitStates, targets: Sequence[Objects], weights: SetWeights | None = None
    ) -> Tensor:
        """Weighted losses of the sets after every block of the decoder, summed (Hu & Singh 2021, sec. 3.5).

        Raises:
            ValueError: the task detects nothing, or the targets do not fit.
        """
        head = self._head(states.task, DetectionHead)
        assert isinstance(head, DetectionHead)
        weights = weights or SetWeights()
        return torch.stack([head.loss(layer, targets, weights) for layer in states.layers]).sum()

    def answer_loss(self, states: UnitStates, targets: Tensor) -> Tensor:
        """Cross-entropy of the last answers: with classes ``[b]``, or (``several``) with degrees
        ``[b, classes]``.

        Raises:
            ValueError: the task does not classify, or the targets do not fit.
        """
        head = self._head(states.task, AnswerHead)
        assert isinstance(head, AnswerHead)
        return head.loss(states.vector(), targets)

    def answer(
        self, pictures: Pictures, questions: Sequence[PreparedPart], top_k: int = 5
    ) -> list[list[Answer]]:
        """The likeliest answers to the n-th question about the n-th picture, best first: by the first task
        that classifies a picture and a text.

        Raises:
            InvalidInput: there is no such task; not as many questions as pictures.
        """
        task = self._able("classification", text=True)

        def logits(batch: PairBatch) -> Tensor:
            ((pixels_bhwc, _),) = batch.pictures
            return self.answers(self(task.name, pixels_bhwc, batch.ids_bt, batch.mask_bt))

        logits_nc = over_pairs(
            [pictures],
            questions,
            logits,
            (task.classes,),
            cell=self.config.resnet.stride,
            padded=False,  # convolutions see what pads, so that a picture's answer would depend on others
            device=next(self.parameters()).device,
        )
        found = logits_nc.sigmoid() if task.several else logits_nc.softmax(dim=-1)
        return likeliest(found, task.names, top_k)

    def detect(
        self, picture: PreparedPart, text: PreparedPart | None = None, *, least: float = 0.5
    ) -> list[Detection]:
        """The objects in a picture that are at least so probable, likeliest first: by the first task that
        detects them, with a text by the first that looks for what a text says.

        Raises:
            InvalidInput: there is no such task.
        """
        task = self._able("detection", text=text is not None)
        device = next(self.parameters()).device
        pixels_bhwc, _ = pad_pixels([picture], device)
        ids_bt = None if text is None else pad_ids([text], device)[0]
        (found,) = self.detections(self(task.name, pixels_bhwc, ids_bt)).found(least)
        corners_n4 = found.corners_n4.float().clamp(0.0, 1.0)
        rows = zip(found.labels_n.tolist(), found.scores_n.tolist(), corners_n4.tolist(), strict=True)
        objects = [Detection(task.names[label], score, tuple(box)) for label, score, box in rows]
        return sorted(objects, key=lambda one: one.probability, reverse=True)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Which of the methods that take prepared parts there are tasks for."""
        there = {
            "answer": self._first("classification", text=True),
            "detect": self._first("detection", text=False) or self._first("detection", text=True),
        }
        return tuple(name for name, task in there.items() if task is not None)

    def _first(self, kind: Kind, *, text: bool) -> TaskConfig | None:
        """The first task of this kind about pictures, and about texts, too, or not."""
        sides = {"picture", "text"} if text else {"picture"}
        found = (task for task in self.config.tasks if task.kind == kind and set(task.modalities) == sides)
        return next(found, None)

    def _able(self, kind: Kind, *, text: bool) -> TaskConfig:
        task = self._first(kind, text=text)
        if task is None:
            about, about_zh = ("pictures and texts", "图文") if text else ("pictures alone", "单独图片")
            raise InvalidInput(
                f"expected a UniT with a task of {kind} about {about}, got one without",
                f"此 UniT 模型没有关于{about_zh}的 {kind} 任务",
                code="unsupported_task",
            )
        return task

    def _decoder(self, task: str) -> Decoder:
        decoder = self.decoders["shared" if self.config.shared else task]
        assert isinstance(decoder, Decoder)
        return decoder

    def _task(self, name: str) -> Task:
        task = self.tasks[name]
        assert isinstance(task, Task)
        return task

    def _head(self, task: str, kind: type[nn.Module]) -> nn.Module:
        head = self._task(task).head
        if not isinstance(head, kind):
            raise ValueError(
                f"expected another kind of task, got {task!r}, which is {self.config.task(task).kind}"
            )
        return head


def _joined(sides: list[Memory], task: TaskConfig) -> Memory:
    """One memory of both sides."""
    if not sides:
        raise ValueError(f"expected {' or '.join(task.modalities)} for {task.name!r}, got neither")
    if len(sides) == 1:
        return sides[0]
    pictures, texts = (len(side.values_bsd) for side in sides)
    if pictures != texts:
        raise ValueError(f"expected as many texts as pictures, got {texts} and {pictures}")
    mask_bs = None
    if any(side.mask_bs is not None for side in sides):
        mask_bs = torch.cat(
            [torch.ones_like(x[..., 0], dtype=torch.bool) if m is None else m for x, _, m in sides], dim=1
        )
    values_bsd = torch.cat([side.values_bsd for side in sides], dim=1)
    return Memory(values_bsd, torch.cat([side.keys_bsd for side in sides], dim=1), mask_bs)
