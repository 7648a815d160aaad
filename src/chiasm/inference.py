"""A model in this process: ``chiasm.load()`` and what it returns."""

import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chiasm import checkpoints
from chiasm.errors import ChiasmError, DeadlineExceeded, InvalidInput, SettingsError
from chiasm.media.part import item_of_value
from chiasm.modality import Part
from chiasm.models.mini.model import ChiasmMini
from chiasm.models.mini.optimise import optimise_for_inference
from chiasm.models.mini.recogniser import recogniser_of
from chiasm.models.pairs import Answer
from chiasm.models.vit.model import Vit
from chiasm.nn.packed import pack, packed_tensors
from chiasm.preprocess import ModelDescription, PreparedItem, Preprocessor
from chiasm.preprocess.explained import Explained, ask, understand
from chiasm.preprocess.explanation import Explanation
from chiasm.preprocess.places import Box, Span
from chiasm.preprocess.prepared import Performance, expect_whole
from chiasm.preprocess.windows import apart, windows_of
from chiasm.settings import Limits, Precision
from chiasm.tasks import Embeds, classify, embed
from chiasm.tasks.perform import perform

TEMPLATES_EN = ("{}", "this is {}", "an example of {}")
TEMPLATES_ZH = ("{}", "这是{}", "{}的例子")
"""What a label is put into; the label itself is always the first."""
_PLACE = "{}"
_CHUNK = 64  # items that are decoded before they are computed: pictures as decoded are large


class Located(NamedTuple):
    """The cosine of what is there, and where: ``box`` (left, top, right, bottom) as shares of a picture, or
    ``span`` in seconds."""

    score: float
    box: Box | None = None
    span: Span | None = None


class Model:
    """A model with its preprocessing. Thread-safe; one computation at a time.

    Args:
        module: computes: it embeds, or it reads pairs. description: of it. preprocessor: prepares for it.
        limits: bounds on what is fetched and decoded.
    """

    def __init__(
        self,
        module: object,
        description: ModelDescription,
        preprocessor: Preprocessor,
        limits: Limits | None = None,
    ) -> None:
        self._module = module
        self._description = description
        self._preprocessor = preprocessor
        self._limits = limits or Limits()
        self._lock = threading.Lock()

    @property
    def description(self) -> ModelDescription:
        """Name, revision, dimensions and all that preparing an input needs."""
        return self._description

    @property
    def bytes(self) -> int:
        """Of the weights in memory."""
        if not isinstance(self._module, nn.Module):
            return 0
        tensors = [*self._module.parameters(), *self._module.buffers()]
        tensors += [packed for module in self._module.modules() for packed in packed_tensors(module)]
        return sum(tensor.numel() * tensor.element_size() for tensor in {id(t): t for t in tensors}.values())

    @property
    def preprocessor(self) -> Preprocessor:
        """Item → prepared item."""
        return self._preprocessor

    def __repr__(self) -> str:
        about = self._description
        return f"<chiasm.Model {about.name} {about.revision}, {about.backend}>"

    def embed(
        self, values: Sequence[object], *, dimensions: int | None = None, truncate: bool = True
    ) -> NDArray[np.float32]:
        """Unit vectors, one a value, in order.

        Args:
            values: a list of ``str`` (always text), ``Path``, ``bytes`` of a file, ``PIL.Image``, ``Audio``,
                ``Video``, ``Url``, or of lists of them: each inner list is one mixed item.
            dimensions: keep so many leading dimensions, 1 to the model's own, and make them unit rows again.
            truncate: cut what is longer than the model reads; else it is refused.

        Returns:
            float32 ``[n, dimensions]``.

        Raises:
            ChiasmError: ``param`` names the value, such as ``input[3].content[0]``.
        """
        if not is_list(values):
            raise InvalidInput(
                f"expected a list of things to embed, got {type(values).__name__}; write [thing] for one",
                f"应为由待嵌入内容组成的列表，实际为 {type(values).__name__}；只有一项时请写 [内容]",
                param="input",
            )
        width = self._width(dimensions)
        chunks = [self.embed_prepared(chunk) for chunk in self._prepared(values, "input", truncate)]
        vectors = (
            np.concatenate(chunks) if chunks else np.zeros((0, self._description.dimensions), np.float32)
        )
        if width < vectors.shape[1]:
            vectors = _unit(vectors[:, :width])
        return vectors

    def classify(
        self,
        values: object,
        labels: Sequence[object],
        *,
        template: str | Sequence[str] | None = None,
        multi_label: bool = False,
    ) -> NDArray[np.float32]:
        """Zero-shot classification: how well each label fits each value (Radford et al. 2021, section 3.1.2).

        Args:
            values: one value as in :meth:`embed`, or a list of them.
            labels: texts, or any other values that show what is meant.
            template: texts with ``{}`` where a label goes; a label is the mean over them. Default: three in
                the label's language, one of which is the label alone.
            multi_label: score each label by itself.

        Returns:
            Scores in [0, 1]: ``[labels]`` for one value, ``[n, labels]`` for a list. Without ``multi_label``
            a row sums to 1.

        Raises:
            InvalidInput: too few labels, or a template without ``{}``.
            ChiasmError: ``param`` names the value or label.
        """
        _check_labels(labels, multi_label)
        prompts = [_prompts(label, template) for label in labels]
        flat = self._embed_named([prompt for group in prompts for prompt in group], _label_names(prompts))
        starts = np.cumsum([0, *(len(group) for group in prompts[:-1])])
        label_vectors = _unit(np.add.reduceat(flat, starts, axis=0))
        vectors = self.embed(values if is_list(values) else [values])
        scores = classify(
            vectors, label_vectors, logit_scale=self._description.logit_scale, multi_label=multi_label
        )
        return scores if is_list(values) else scores[0]

    def explain(
        self,
        value: object,
        target: object,
        *,
        others: Sequence[object] = (),
        method: str = "contribution",
        layer: int | None = None,
        head: int | None = None,
    ) -> Explained:
        """Where the model looked when it brought two things together, or kept them apart.

        Args:
            value, target: single values as in :meth:`embed`, such as a picture and what is looked for in it.
            others: what the target is told apart from, such as the other labels.
            method: ``contribution``, ``relevance``, ``rollout``, ``attention`` or ``gradient``.
            layer, head: of ``attention``; without them, the last layer in which the readers look, and the
                mean over heads.

        Returns:
            Weights of the parts of both, and for each word what of the other side belongs to it.

        Raises:
            InvalidInput: several parts in one, no such method, layer or head, or a model that cannot tell.
        """
        named = [("input", value), ("target", target), *((f"others[{n}]", o) for n, o in enumerate(others))]
        items = []
        for name, one in named:
            try:
                items.append(item_of_value(one, self._limits))
            except ChiasmError as error:
                raise error.at(name) from None
        question = ask(
            self._preprocessor, *items[:2], others=items[2:], method=method, layer=layer, head=head
        )
        found = self.perform("explain", question.items, question.options)
        return understand(self._preprocessor, question, Explanation.from_message(found.about, found.arrays))

    def locate(self, value: object, query: object, *, most: int = 5) -> list[Located]:
        """Where in a picture, or when in a sound or clip, something is.

        Args:
            value: the picture, sound or clip. query: what is looked for, as in :meth:`embed`. most: results.

        Returns:
            Best first; they hardly overlap. Something is always found: the scores say how near it is.

        Raises:
            InvalidInput: a text, or several parts, to look in.
        """
        part = self._single(value, "input")
        windows = windows_of(part)
        wanted = self._prepare(query, "query")
        items = [PreparedItem((self._preprocessor.prepare_part(window.part),)) for window in windows]
        vectors = self.embed_prepared([wanted, *items])
        scores = vectors[1:] @ vectors[0]
        return [
            Located(float(scores[n]), windows[n].box, windows[n].span) for n in apart(windows, scores, most)
        ]

    def match(self, value: object, others: Sequence[object]) -> NDArray[np.float32]:
        """Whether pictures and texts belong together, judged by reading both (image-text matching).

        Args:
            value: a picture or a text, as in :meth:`embed`. others: texts for a picture, pictures for a text.

        Returns:
            Probabilities in (0, 1), float32 ``[others]``.

        Raises:
            InvalidInput: something else than a picture and a text, or a model that cannot judge.
        """
        items = [self._prepare(value, "input")]
        items += [self._prepare(other, f"others[{n}]") for n, other in enumerate(others)]
        matched: NDArray[np.float32] = self.perform("match", items, {}).arrays[0]
        return matched

    def answer(self, picture: object, question: object, *, top_k: int = 5) -> list[Answer]:
        """The likeliest answers to a question about a picture, best first.

        Raises:
            InvalidInput: something else than a picture and a text, or a model that cannot answer.
        """
        items = [self._prepare(picture, "input"), self._prepare(question, "question")]
        found = self.perform("answer", items, {"top_k": top_k})
        return [Answer(text, probability) for text, probability in found.about["answers"]]

    def embed_prepared(
        self, items: Sequence[PreparedItem], *, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Unit vectors float32 ``[n, d]`` of prepared items.

        Args:
            items: from :attr:`preprocessor`.
            deadline: ``time.time()`` after which the answer is of no use.

        Raises:
            DeadlineExceeded: others computed for so long that the deadline passed.
        """
        if not items:
            return np.zeros((0, self._description.dimensions), np.float32)
        if not isinstance(self._module, Embeds):
            name, able = self._description.name, self._description.capabilities
            raise InvalidInput(
                f"expected a model that gives vectors, got {name}, which can: {', '.join(able)}",
                f"模型 {name} 不能给出向量，它能做的是：{'、'.join(able)}",
                code="unsupported_task",
                param="model",
            )
        with self._alone(deadline):
            return embed(self._module, items)

    def perform(
        self,
        task: str,
        items: Sequence[PreparedItem],
        options: Mapping[str, Any],
        *,
        deadline: float | None = None,
    ) -> Performance:
        """What a task makes of prepared items, see :func:`chiasm.tasks.perform.perform`; ``deadline`` as of
        :meth:`embed_prepared`.

        Raises:
            InvalidInput: no such task, or one that the model cannot do.
            DeadlineExceeded: others computed for so long that the deadline passed.
        """
        with self._alone(deadline):
            began = time.perf_counter()
            about, arrays = perform(self._module, task, items, options)
        return Performance(about=about, arrays=arrays, inference_ms=1000 * (time.perf_counter() - began))

    @contextmanager
    def _alone(self, deadline: float | None) -> Iterator[None]:
        patience = -1.0 if deadline is None else max(0.0, deadline - time.time())
        if not self._lock.acquire(timeout=patience):
            raise DeadlineExceeded("the deadline passed before this was computed", "尚未计算，期限已过")
        try:
            yield
        finally:
            self._lock.release()

    def _prepared(self, values: Sequence[object], name: str, truncate: bool) -> Iterator[list[PreparedItem]]:
        for start in range(0, len(values), _CHUNK):
            chunk = enumerate(values[start : start + _CHUNK], start)
            yield [self._prepare(value, f"{name}[{index}]", truncate) for index, value in chunk]

    def _prepare(self, value: object, name: str, truncate: bool = True) -> PreparedItem:
        try:
            item = self._preprocessor.prepare(item_of_value(value, self._limits))
            if not truncate:
                expect_whole(item)
            return item
        except ChiasmError as error:
            raise error.at(name) from None

    def _single(self, value: object, name: str) -> Part:
        try:
            parts = item_of_value(value, self._limits).parts
        except ChiasmError as error:
            raise error.at(name) from None
        if len(parts) != 1:
            raise InvalidInput(
                f"expected one part, got {len(parts)}", f"应为单个部分，实际为 {len(parts)} 个", param=name
            )
        return parts[0]

    def _embed_named(self, values: Sequence[object], names: Sequence[str]) -> NDArray[np.float32]:
        return self.embed_prepared([self._prepare(v, name) for v, name in zip(values, names, strict=True)])

    def _width(self, dimensions: int | None) -> int:
        own = self._description.dimensions
        if dimensions is not None and not 1 <= dimensions <= own:
            raise InvalidInput(
                f"expected 1 to {own} dimensions, got {dimensions}",
                f"维数应为 1 至 {own}，实际为 {dimensions}",
                param="dimensions",
            )
        return dimensions or own


def load(
    source: str | Path | None = None,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    name: str | None = None,
) -> Model:
    """Load a model.

    Args:
        source: nothing or ``"chiasm-mini"`` for the model inside this package, or a folder: of ours, or
            a BERT, RoBERTa, ViT, CLIP, Chinese-CLIP or SigLIP as model hubs hold them.
        device: ``auto`` (an NVIDIA GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``bfloat16`` takes half the memory, and less time where the device computes in it; only
            for published models.
        name: what the model is to be called.

    Raises:
        CheckpointError: no such model, or its files are damaged or do not fit each other.
        SettingsError: a device that is not here.
    """
    place = pick_device(device)
    model, description = checkpoints.load(checkpoints.resolve(source), place, precision)
    if name is not None:
        description = dataclasses.replace(description, name=name)
    optimise(model)
    return Model(model, description, Preprocessor(description, recogniser_of(description)))


def optimise(model: nn.Module) -> None:
    """Make a loaded model faster in place; it can be neither trained nor saved afterwards."""
    if isinstance(model, ChiasmMini):
        optimise_for_inference(model)
        return
    for module in model.modules():
        if isinstance(module, Vit):
            module.fold_pixels()
    pack(model)


def pick_device(name: str) -> torch.device:
    """The device that ``name`` means.

    Raises:
        SettingsError: not a device we compute on, or not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(kind, 0)
    if (number and not number.isdecimal()) or int(number or 0) >= count:
        raise SettingsError(
            f"expected the device auto, cpu, cuda or cuda:N that this machine has, got {name!r}",
            f"设备应为本机可用的 auto、cpu、cuda 或 cuda:N，实际为 {name!r}",
            param="model.device",
        )
    return torch.device(name)


def is_list(values: object) -> TypeGuard[Sequence[object]]:
    """Whether this is several values rather than one."""
    return isinstance(values, list | tuple)


def _check_labels(labels: Sequence[object], multi_label: bool) -> None:
    least = 1 if multi_label else 2
    if not is_list(labels) or len(labels) < least:
        got = len(labels) if is_list(labels) else type(labels).__name__
        raise InvalidInput(
            f"expected a list of at least {least} labels, got {got}",
            f"应为至少含 {least} 个标签的列表，实际为 {got}",
            param="labels",
        )


def _prompts(label: object, template: str | Sequence[str] | None) -> list[object]:
    """The values whose mean stands for a label."""
    if not isinstance(label, str):
        return [label]
    if template is None:
        chinese = any("\u3400" <= c <= "\u9fff" for c in label)
        templates: Sequence[str] = TEMPLATES_ZH if chinese else TEMPLATES_EN
    else:
        templates = [template] if isinstance(template, str) else template
    fine = isinstance(templates, Sequence) and all(
        isinstance(text, str) and _PLACE in text for text in templates
    )
    if not templates or not fine:
        raise InvalidInput(
            f"expected templates with {{}} where the label goes, got {template!r}",
            f"模板应含 {{}}（标签所在处），实际为 {template!r}",
            param="template",
        )
    return [text.replace(_PLACE, label) for text in templates]


def _label_names(prompts: Sequence[Sequence[object]]) -> list[str]:
    return [f"labels[{index}]" for index, group in enumerate(prompts) for _ in group]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32)
