"""Every spelling of a piece of content in a request, in one place. Nothing is fetched or decoded here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from werkzeug.datastructures import FileStorage

from chiasm.api.validation import expected, missing, unknown
from chiasm.errors import InvalidInput, TooLarge
from chiasm.modality import Modality
from chiasm.settings import Limits

Kind = Literal["text", "url", "base64", "file", "upload", "bytes"]
FORM_TEXTS = ("input", "query", "text")
MEDIA = ("image", "audio", "video")
SHORT = {"text": None, "image": Modality.IMAGE, "audio": Modality.AUDIO, "video": Modality.VIDEO}
TYPES = ("text", "image_url", "input_audio", "audio_url", "video_url", "file")
ROLES = ("system", "developer", "user", "assistant")
_URL_STARTS = ("http://", "https://", "data:")
_PART_EN = (
    'a string, {"type": "text"|"image_url"|"input_audio"|"audio_url"|"video_url"|"file", …}, '
    '{"text"|"image"|"audio"|"video": …} or {"content": […]}'
)
_PART_ZH = "字符串、带 type 的部分、{text|image|audio|video: …} 或 {content: […]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class PartSpec:
    """A part as the request names it.

    Attributes:
        param: where in the request: ``input[3].image_url.url``.
        kind: what ``value`` is: the text, an address, base64, a file id, an uploaded file, or
            the bytes themselves.
        expect: the kind of content that the request announces; ``None`` if it does not.
    """

    param: str
    kind: Kind
    value: Any
    expect: Modality | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemSpec:
    """What gets one vector: one part, or several that are fused."""

    param: str
    parts: tuple[PartSpec, ...]


def parse_inputs(value: Any, param: str, limits: Limits) -> list[ItemSpec]:
    """An ``input``: one part or mixed item, or a list of them.

    Raises:
        InvalidInput: anything else; ``param`` says where.
        TooLarge: more than ``limits.parts`` parts, or a text longer than ``limits.text_chars``.
    """
    if isinstance(value, list):
        _refuse_token_ids(value, param)
        if not value:
            raise expected("at least one input", "至少一个输入", value, param)
        check_parts(len(value), param, limits)
        items = [parse_item(one, f"{param}[{i}]", limits) for i, one in enumerate(value)]
    else:
        items = [parse_item(value, param, limits)]
    check_parts(sum(len(item.parts) for item in items), param, limits)
    return items


def parse_item(value: Any, param: str, limits: Limits) -> ItemSpec:
    """One part or one mixed item; raises as :func:`parse_inputs`."""
    if isinstance(value, list):
        raise InvalidInput(
            'expected a part or a mixed item {"content": […]}, got a list in a list',
            '应为一个部分或混合条目 {"content": […]}，实际为列表中的列表',
            param=param,
        )
    if isinstance(value, Mapping) and "content" in value:
        _only(value, param, "content")
        return ItemSpec(param=param, parts=_content(value["content"], f"{param}.content", limits))
    return ItemSpec(param=param, parts=(parse_part(value, param, limits),))


def parse_content(value: Any, param: str, limits: Limits) -> ItemSpec:
    """One part, or a list of parts that are fused; raises as :func:`parse_inputs`."""
    if isinstance(value, list):
        return ItemSpec(param=param, parts=_content(value, param, limits))
    return ItemSpec(param=param, parts=(parse_part(value, param, limits),))


def parse_messages(value: Any, param: str, limits: Limits) -> list[ItemSpec]:
    """Chat messages, fused into one item: the parts of all of them, in order."""
    if not isinstance(value, list) or not value:
        raise expected("a list of at least one message", "至少含一条消息的列表", value, param)
    check_parts(len(value), param, limits)
    parts: list[PartSpec] = []
    for index, message in enumerate(value):
        where = f"{param}[{index}]"
        if not isinstance(message, Mapping):
            raise expected("an object with role and content", "含 role 与 content 的对象", message, where)
        _only(message, where, "role", "content", "name")
        if message.get("role") not in ROLES:
            raise expected(
                f"one of {', '.join(ROLES)}",
                f" {'、'.join(ROLES)} 之一",
                message.get("role"),
                f"{where}.role",
            )
        if "content" not in message:
            raise missing(f"{where}.content")
        parts += _content(message["content"], f"{where}.content", limits)
        check_parts(len(parts), param, limits)
    return [ItemSpec(param=param, parts=tuple(parts))]


def parse_part(value: Any, param: str, limits: Limits) -> PartSpec:
    """One part; raises as :func:`parse_inputs`."""
    if isinstance(value, str):
        return text_part(value, param, limits)
    if not isinstance(value, Mapping):
        raise expected(_PART_EN, _PART_ZH, value, param)
    if "type" in value:
        return _typed(value, param, limits)
    short = [name for name in SHORT if name in value]
    if len(short) != 1:
        raise expected(_PART_EN, _PART_ZH, value, param)
    _only(value, param, short[0])
    return _short(short[0], value[short[0]], f"{param}.{short[0]}", limits)


def text_part(value: Any, param: str, limits: Limits) -> PartSpec:
    """A text, not empty and of bounded length."""
    if not isinstance(value, str):
        raise expected("a string", "字符串", value, param)
    if not value:
        raise expected("a text that is not empty", "非空文本", value, param)
    if len(value) > limits.text_chars:
        raise TooLarge(
            f"expected at most {limits.text_chars} characters (limits.text_chars), got {len(value)}",
            f"文本不得超过 {limits.text_chars} 个字符（limits.text_chars），实际为 {len(value)} 个",
            param=param,
        )
    return PartSpec(param=param, kind="text", value=value, expect=Modality.TEXT)


def parse_form_items(
    values: Mapping[str, Sequence[str]],
    files: Mapping[str, Sequence[FileStorage]],
    limits: Limits,
    *,
    fuse: bool = False,
) -> list[ItemSpec]:
    """The parts of a multipart form: its fields ``input``, ``query``, ``text``, ``image``, ``audio``,
    ``video`` and ``file``; texts first, then files, each in the order in which they came.

    Args:
        fuse: one mixed item instead of an item for each part.
    """
    parts = [
        _form_value(name, text, _nth(name, i, len(values[name])), limits)
        for name in (*FORM_TEXTS, *MEDIA)
        for i, text in enumerate(values.get(name, ()))
    ]
    parts += [
        PartSpec(param=_nth(name, i, len(found)), kind="upload", value=upload, expect=SHORT.get(name))
        for name, found in files.items()
        for i, upload in enumerate(found)
    ]
    check_parts(len(parts), "input", limits)
    if not parts:
        raise missing("input")
    if fuse:
        return [ItemSpec(param="input", parts=tuple(parts))]
    return [ItemSpec(param=part.param, parts=(part,)) for part in parts]


def parse_form_side(
    name: str, values: Sequence[str], files: Sequence[FileStorage], limits: Limits
) -> list[ItemSpec]:
    """The parts of one form field, texts first: each an item of its own; there must be one."""
    parts = [text_part(text, _nth(name, i, len(values)), limits) for i, text in enumerate(values)]
    parts += [
        PartSpec(param=_nth(name, i, len(files)), kind="upload", value=upload)
        for i, upload in enumerate(files)
    ]
    check_parts(len(parts), name, limits)
    if not parts:
        raise missing(name)
    return [ItemSpec(param=part.param, parts=(part,)) for part in parts]


def check_parts(count: int, param: str, limits: Limits) -> None:
    """Refuse more than ``limits.parts``."""
    if count > limits.parts:
        raise TooLarge(
            f"expected at most {limits.parts} parts (limits.parts), got {count}",
            f"一次请求最多 {limits.parts} 个部分（limits.parts），实际为 {count} 个",
            param=param,
        )


def _form_value(name: str, value: str, param: str, limits: Limits) -> PartSpec:
    return text_part(value, param, limits) if name in FORM_TEXTS else _short(name, value, param, limits)


def _nth(name: str, index: int, count: int) -> str:
    return name if count == 1 else f"{name}[{index}]"


def _content(value: Any, param: str, limits: Limits) -> tuple[PartSpec, ...]:
    if isinstance(value, str):
        return (text_part(value, param, limits),)
    if not isinstance(value, list) or not value:
        raise expected(
            "a string or a list of at least one part", "字符串或至少含一个部分的列表", value, param
        )
    check_parts(len(value), param, limits)
    return tuple(parse_part(one, f"{param}[{i}]", limits) for i, one in enumerate(value))


def _typed(value: Mapping[str, Any], param: str, limits: Limits) -> PartSpec:
    kind = value["type"]
    if kind not in TYPES:
        raise expected(f"one of {', '.join(TYPES)}", f" {'、'.join(TYPES)} 之一", kind, f"{param}.type")
    if kind not in value:
        raise missing(f"{param}.{kind}")
    _only(value, param, "type", kind)
    return _PARSERS[kind](value[kind], f"{param}.{kind}", limits)


def _short(name: str, value: Any, param: str, limits: Limits) -> PartSpec:
    if name == "text":
        return text_part(value, param, limits)
    if not isinstance(value, str) or not value:
        raise expected("an http(s) or data URL, or base64", "http(s) 或 data 地址，或 base64", value, param)
    if value[:8].lower().startswith(_URL_STARTS):
        return PartSpec(param=param, kind="url", value=value, expect=SHORT[name])
    return PartSpec(param=param, kind="base64", value=value, expect=SHORT[name])


def _address(modality: Modality, *harmless: str) -> Callable[[Any, str, Limits], PartSpec]:
    def parse(value: Any, param: str, _limits: Limits) -> PartSpec:
        fields = _object(value, param, "url", *harmless)
        address = fields["url"]
        where = f"{param}.url"
        if not isinstance(address, str) or not address[:8].lower().startswith(_URL_STARTS):
            raise expected("an http, https or data URL", "http、https 或 data 地址", address, where)
        return PartSpec(param=where, kind="url", value=address, expect=modality)

    return parse


def _input_audio(value: Any, param: str, _limits: Limits) -> PartSpec:
    fields = _object(value, param, "data", "format")
    if not isinstance(fields.get("format", ""), str):
        raise expected("a string", "字符串", fields["format"], f"{param}.format")
    where = f"{param}.data"
    if not isinstance(fields["data"], str) or not fields["data"]:
        raise expected("base64", "base64", fields["data"], where)
    return PartSpec(param=where, kind="base64", value=fields["data"], expect=Modality.AUDIO)


def _file(value: Any, param: str, _limits: Limits) -> PartSpec:
    fields = _object(value, param, "file_id")
    if not isinstance(fields["file_id"], str) or not fields["file_id"]:
        raise expected(
            "the id of an uploaded file", "已上传文件的编号", fields["file_id"], f"{param}.file_id"
        )
    return PartSpec(param=f"{param}.file_id", kind="file", value=fields["file_id"])


_PARSERS: Mapping[str, Callable[[Any, str, Limits], PartSpec]] = {
    "text": text_part,
    "image_url": _address(Modality.IMAGE, "detail"),
    "audio_url": _address(Modality.AUDIO),
    "video_url": _address(Modality.VIDEO),
    "input_audio": _input_audio,
    "file": _file,
}


def _object(value: Any, param: str, required: str, *optional: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise expected(f"an object with {required}", f"含 {required} 的对象", value, param)
    _only(value, param, required, *optional)
    if required not in value:
        raise missing(f"{param}.{required}")
    return value


def _only(value: Mapping[str, Any], param: str, *known: str) -> None:
    for name in value:
        if name not in known:
            raise unknown(f"{param}.{name}"[:200], ", ".join(known))


def _refuse_token_ids(value: Sequence[Any], param: str) -> None:
    first = value[0] if value else None
    if isinstance(first, list) and first:
        first = first[0]
    if isinstance(first, int) and not isinstance(first, bool):
        raise InvalidInput(
            "expected texts or parts, got token ids: they are of another model's vocabulary. Have the client "
            "send strings; in LangChain's OpenAIEmbeddings set check_embedding_ctx_length=False",
            "应为文本或其他内容，实际为词元编号（属于别的模型的词表）。请让客户端发送字符串；"
            "LangChain 的 OpenAIEmbeddings 请设置 check_embedding_ctx_length=False",
            param=param,
            code="token_ids_not_supported",
        )
