"""Preparations that come with families of ``transformers``: of pictures, of sound, of conversations.

They run in the engine on decoded pixels and samples, where our own numbers cannot say what a family does.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from numpy.typing import NDArray

from chiasm.checkpoints import layout
from chiasm.errors import CheckpointError
from chiasm.models.foreign.conversation import ForeignConversation, Message
from chiasm.models.foreign.model import Prepare
from chiasm.preprocess.config import AudioPreprocess, ImagePreprocess

LONGEST_SIDE = 2048
"""Pixels of pictures that a family's own preparation gets; what it does with more is to make it less."""
MOST_SECONDS = 30.0
"""Of sound where a family does not say."""
LOADING = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    AttributeError,
    LookupError,
    ImportError,
    TemplateError,
)
_ONLY_HERE = {"local_files_only": True, "trust_remote_code": False}


def picture_processor(folder: Path, kind: str) -> Prepare:
    """The family's own preparation of pictures.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    processor = _auto("AutoImageProcessor", folder, kind, backend="pil")

    def prepare(pixels: NDArray[Any]) -> Mapping[str, torch.Tensor]:
        return _tensors(processor([pixels], return_tensors="pt", input_data_format="channels_last"))

    return prepare


def sound_processor(folder: Path, kind: str) -> tuple[Prepare, AudioPreprocess]:
    """The family's own preparation of sound, and the rate and length of what it is given.

    Raises:
        CheckpointError: it cannot be loaded, or says no rate.
    """
    extractor = _auto("AutoFeatureExtractor", folder, kind)
    rate = getattr(extractor, "sampling_rate", None)
    if not isinstance(rate, int):
        raise CheckpointError(
            f"preprocessor_config.json: sampling_rate: expected a whole number, got {rate!r}",
            f"preprocessor_config.json：sampling_rate 应为整数，实际为 {rate!r}",
            param="preprocessor_config.json",
        )
    longest = getattr(extractor, "max_length_s", None) or getattr(extractor, "chunk_length", None)
    try:
        config = AudioPreprocess(
            rate=rate,
            waveform=True,
            fmax=rate / 2,
            min_seconds=0.1,
            max_seconds=float(longest or MOST_SECONDS),
        )
    except CheckpointError as error:
        raise error.about("preprocessor_config.json") from None

    def prepare(samples: NDArray[Any]) -> Mapping[str, torch.Tensor]:
        return _tensors(extractor(np.asarray(samples), sampling_rate=rate, return_tensors="pt"))

    return prepare, config


def conversation(
    folder: Path, model: Any, kind: str, tokenizer_limit: int
) -> tuple[ForeignConversation, int]:
    """A decoder that reads pictures within what a user says, and how many tokens its frame takes.

    Raises:
        CheckpointError: its processor cannot be loaded, or does not say how a conversation is written.
    """
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING  # noqa: PLC0415

    family = _loaded(kind, lambda: PROCESSOR_MAPPING[type(model.config)])
    # clips come as their frames: what prepares clips needs packages that nothing else does
    still = type(
        family.__name__,
        (family,),
        {"get_attributes": classmethod(lambda _: ["image_processor", "tokenizer"])},
    )
    pictures = _auto("AutoImageProcessor", folder, kind, backend="pil")
    tokenizer = _auto("AutoTokenizer", folder, kind)
    about = _loaded(kind, lambda: family.get_processor_dict(folder, local_files_only=True)[0])
    template = about.get("chat_template") or tokenizer.chat_template
    if not template:
        raise CheckpointError(
            f"{kind}: expected chat_template.jinja, which says how it is spoken to, got none",
            f"{kind}：缺少 chat_template.jinja，无法得知对话的写法",
            param="chat_template.jinja",
        )
    processor = _loaded(
        kind,
        lambda: still(
            image_processor=pictures, tokenizer=tokenizer, video_processor=None, chat_template=template
        ),
    )

    def render(messages: Sequence[Message]) -> str:
        said: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return said

    def prepared(**given: Any) -> Mapping[str, torch.Tensor]:
        images = given.pop("images")
        own = {} if images is None else {"images": images, "input_data_format": "channels_last"}
        return _tensors(processor(**given, **own))

    width = int(model.config.get_text_config().hidden_size)
    module = ForeignConversation(
        model,
        prepared,
        render,
        width,
        instruction=_instruction(folder),
        special=[*tokenizer.get_added_vocab()],
    )
    empty = _loaded(kind, lambda: render([{"role": "user", "content": [{"type": "text", "text": ""}]}]))
    frame = len(tokenizer(empty)["input_ids"]) + len(tokenizer(module.instruction)["input_ids"])
    if frame + 4 > tokenizer_limit:
        raise CheckpointError(
            f"{kind}: expected room for words beside the {frame} tokens of its frame, got {tokenizer_limit}",
            f"{kind}：对话框架占 {frame} 个词元，而上下文只有 {tokenizer_limit}",
            param="chat_template.jinja",
        )
    return module, frame


def whole_pictures() -> ImagePreprocess:
    """As they are, if they are not huge."""
    return ImagePreprocess(side=LONGEST_SIDE, fit="whole", longest=LONGEST_SIDE, trim=False)


def _instruction(folder: Path) -> str:
    """What sentence-transformers would say first: the prompt that is its default."""
    path = folder / "config_sentence_transformers.json"
    about = layout.read_json(path) if path.is_file() else {}
    prompts = about.get("prompts")
    found = prompts.get(about.get("default_prompt_name")) if isinstance(prompts, Mapping) else None
    return found if isinstance(found, str) else ""


def _auto(name: str, folder: Path, kind: str, **options: Any) -> Any:
    import transformers  # noqa: PLC0415

    maker: Any = getattr(transformers, name)
    return _loaded(kind, lambda: maker.from_pretrained(folder, **_ONLY_HERE, **options))


def _loaded(kind: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except LOADING as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{kind}: transformers cannot load what prepares for it: {reason}",
            f"{kind}：transformers 无法加载其预处理：{reason}",
            param="preprocessor_config.json",
        ) from error


def _tensors(made: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}
