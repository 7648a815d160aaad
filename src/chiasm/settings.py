"""One frozen tree of settings, read once at start and passed down; nothing reads the environment later.

Precedence: command line over ``CHIASM_SECTION_NAME`` variables over ``chiasm.toml`` over the defaults
below. :func:`load_settings` also tells where each value came from.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from chiasm.errors import SettingsError

Origin = Literal["default", "chiasm.toml", "environment", "command line"]
ENVIRONMENT_PREFIX = "CHIASM_"


Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The HTTP side."""

    host: str = field(default="127.0.0.1", metadata={"help": "address to listen on"})
    port: int = field(default=8000, metadata={"help": "port to listen on; 0 picks a free one"})
    workers: int = field(default=1, metadata={"help": "web worker processes"})
    threads: int = field(default=16, metadata={"help": "threads of each web worker"})
    backlog: int = field(
        default=128,
        metadata={"help": "requests that may wait for a thread, in each web worker; one caller gets half"},
    )
    deadline: float = field(default=60.0, metadata={"help": "seconds a request may take before it gets 504"})
    allowed_hosts: tuple[str, ...] = field(
        default=(), metadata={"help": "Host headers to accept besides loopback names and the bound address"}
    )
    allow_remote: bool = field(
        default=False,
        metadata={"help": "listen beyond this machine although anyone who connects may do anything"},
    )
    audit_bytes: int = field(
        default=16 << 20, metadata={"help": "bytes of one file of the audit log; 0 turns it off"}
    )
    audit_files: int = field(default=8, metadata={"help": "files of the audit log that are kept"})
    log_format: str = field(
        default="text",
        metadata={"help": "log lines for people (text) or machines (json)", "choices": ("text", "json")},
    )
    otlp_endpoint: str = field(
        default="", metadata={"help": "OTLP/HTTP collector that gets traces; empty: nothing is traced"}
    )


@dataclass(frozen=True, kw_only=True)
class NamedSource:
    """Where a model is, and what requests call it; an empty name leaves that to the model."""

    name: str
    source: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """``[NAME=]SOURCE``; a name has no slash, so that a folder may have a ``=`` behind one."""
        match = _NAMED.fullmatch(text)
        return cls(name=match[1], source=match[2]) if match else cls(name="", source=text)


_NAMED = re.compile(r"([A-Za-z0-9][\w.-]{0,63})=(.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which models answer, and where."""

    source: str = field(
        default="chiasm-mini",
        metadata={
            "help": "name of a model (chiasm-mini, hf:OWNER/NAME) or a folder; `NAME=` before it renames it"
        },
    )
    others: tuple[str, ...] = field(
        default=(), metadata={"help": "further models, `[NAME=]SOURCE`, loaded when they are asked for"}
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    precision: Precision = field(
        default="float32",
        metadata={
            "help": "float32, or bfloat16 for published models: half the memory, sooner on recent CPUs"
        },
    )
    threads: int = field(default=0, metadata={"help": "CPU threads of the engine; 0 means all cores"})

    @property
    def first(self) -> NamedSource:
        """The model that answers where none is named."""
        return NamedSource.parse(self.source)

    def sources(self) -> list[NamedSource]:
        """All models, the first one first; the others have names, those of their sources if need be.

        Raises:
            SettingsError: two of one name.
        """
        first = self.first
        others = [NamedSource.parse(text) for text in self.others]
        others = [one if one.name else replace(one, name=short_name(one.source)) for one in others]
        names = [first.name or short_name(first.source), *(one.name for one in others)]
        for name in names:
            if not name or names.count(name) > 1:
                raise SettingsError(
                    f"model.others: expected a name of its own for each model, got {names}",
                    f"model.others：每个模型应有各自的名称，实际为 {names}",
                    param="model.others",
                )
        return [first, *others]


def short_name(source: str) -> str:
    """What a model is called that has no other name: the last part of where it is."""
    return source.rstrip("/").rpartition("/")[2].partition("@")[0]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Queueing and batching. Cost is in units of one 192 x 192 picture through the image tower."""

    max_queue_cost: float = field(
        default=512.0, metadata={"help": "queued cost beyond which new work gets 503"}
    )
    key_share: float = field(
        default=0.5, metadata={"help": "part of the queue that one key may fill before it gets 429"}
    )
    max_batch_cost: float = field(default=32.0, metadata={"help": "cost of one batch"})
    max_wait: float = field(
        default=0.002,
        metadata={"help": "seconds an item may wait for company, while requests come side by side"},
    )
    cache_bytes: int = field(default=32 << 20, metadata={"help": "bytes of result cache; 0 turns it off"})
    memory_bytes: int = field(
        default=0, metadata={"help": "bytes of weights that may be loaded at a time; 0 for any number"}
    )
    idle_seconds: float = field(
        default=900.0,
        metadata={"help": "seconds after which an unused model but the first is unloaded; 0 for never"},
    )
    stuck_seconds: float = field(
        default=120.0,
        metadata={"help": "seconds one batch may take before the engine is replaced; 0 waits for ever"},
    )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on everything that comes from outside."""

    body_bytes: int = field(default=256 << 20, metadata={"help": "bytes of one request body"})
    json_bytes: int = field(default=64 << 20, metadata={"help": "bytes of one JSON request body"})
    parts: int = field(default=256, metadata={"help": "parts in one request"})
    text_chars: int = field(default=100_000, metadata={"help": "characters of one text part"})
    file_bytes: int = field(default=256 << 20, metadata={"help": "bytes of one media file"})
    image_pixels: int = field(default=50_000_000, metadata={"help": "pixels of one picture"})
    document_pages: int = field(default=1000, metadata={"help": "pages of one PDF"})
    media_seconds: float = field(default=7200.0, metadata={"help": "seconds of one recording or video"})
    request_media_seconds: float = field(
        default=300.0, metadata={"help": "seconds of one recording or video that is sent for a vector"}
    )
    video_pixels: int = field(default=9_000_000, metadata={"help": "pixels of one video frame"})
    decode_seconds: float = field(default=30.0, metadata={"help": "seconds that decoding one file may take"})
    fetch_seconds: float = field(default=15.0, metadata={"help": "seconds that fetching one URL may take"})
    fetch_redirects: int = field(default=3, metadata={"help": "redirects followed for one URL"})
    fetch_allow: tuple[str, ...] = field(
        default=(), metadata={"help": "hosts or networks that may be fetched although they are private"}
    )
    uploads: int = field(default=32, metadata={"help": "concurrent uploads"})
    event_streams: int = field(
        default=64, metadata={"help": "jobs whose events are followed at a time, in each web worker"}
    )


@dataclass(frozen=True, kw_only=True)
class LibrarySettings:
    """Where one's own media live and how they are cut."""

    data_dir: Path = field(
        default=Path("chiasm-data"), metadata={"help": "folder of everything that is kept"}
    )
    database_url: str = field(
        default="",
        metadata={"help": "PostgreSQL for metadata, vectors and jobs; empty: SQLite in the data folder"},
    )
    files_url: str = field(
        default="",
        metadata={"help": "`s3://bucket/prefix` for files that are copied in; empty: the data folder"},
    )
    files_endpoint: str = field(
        default="", metadata={"help": "address of an S3-compatible server; empty: AWS"}
    )
    files_cache_bytes: int = field(
        default=2 << 30, metadata={"help": "bytes of files from S3 that are kept at hand"}
    )
    segment_seconds: float = field(
        default=6.0, metadata={"help": "length of an indexed stretch of sound or video"}
    )
    passage_chars: int = field(default=480, metadata={"help": "length of an indexed passage of a long text"})
    ocr: bool = field(default=True, metadata={"help": "read the words in pictures, where the extra ocr is"})
    watch: tuple[Path, ...] = field(
        default=(), metadata={"help": "folders that the server keeps a store in step with"}
    )
    watch_store: str = field(default="library", metadata={"help": "name of the store for watched folders"})
    sample: bool = field(
        default=True, metadata={"help": "put the openly licensed sample library in at first start"}
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set."""

    server: ServerSettings = field(default_factory=ServerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    limits: Limits = field(default_factory=Limits)
    library: LibrarySettings = field(default_factory=LibrarySettings)


@dataclass(frozen=True, kw_only=True)
class LoadedSettings:
    """The settings and, for each ``section.name``, where its value came from."""

    settings: Settings
    origins: Mapping[str, Origin]


def load_settings(
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    toml_path: Path | None = None,
) -> LoadedSettings:
    """Merge the four sources.

    Args:
        flags: ``{"server.port": 8001}``; values that are ``None`` count as not given.
        environment: usually ``os.environ``; ``CHIASM_SERVER_PORT=8001``. Lists are comma separated.
        toml_path: a file with one table a section; it need not exist.

    Raises:
        SettingsError: an unknown name, or a value that is not of the setting's type.
    """
    given: dict[str, tuple[Any, Origin]] = {}
    known = _known()
    if toml_path is not None and toml_path.is_file():
        for name, value in _read_toml(toml_path).items():
            given[_check_name(name, known, str(toml_path))] = (value, "chiasm.toml")
    for variable, value in (environment or {}).items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            lowered = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            name = next((k for k in known if k.replace(".", "_") == lowered), lowered)
            given[_check_name(name, known, variable)] = (value, "environment")
    for name, value in (flags or {}).items():
        if value is not None:
            given[_check_name(name, known, name)] = (value, "command line")
    sections: dict[str, Any] = {}
    for section in fields(Settings):
        kind = type(getattr(Settings(), section.name))
        values = {
            f.name: _convert(f"{section.name}.{f.name}", given[f"{section.name}.{f.name}"][0], known)
            for f in fields(kind)
            if f"{section.name}.{f.name}" in given
        }
        sections[section.name] = kind(**values)
        _check_choices(section.name, sections[section.name])
    origins: dict[str, Origin] = {name: given[name][1] if name in given else "default" for name in known}
    return LoadedSettings(settings=Settings(**sections), origins=origins)


def flatten(settings: Settings) -> dict[str, Any]:
    """``{"server.port": 8000, …}`` in the order of the tree."""
    return {
        f"{section.name}.{f.name}": getattr(getattr(settings, section.name), f.name)
        for section in fields(settings)
        for f in fields(getattr(settings, section.name))
    }


def without_password(value: Any) -> Any:
    """A setting as it may be shown: a URL's password is left out."""
    return re.sub(r"(?<=://)([^/?#@:]*):[^/?#@]*@", r"\1:***@", value) if isinstance(value, str) else value


def describe() -> dict[str, str]:
    """The one-line help of every setting, by its full name."""
    return {
        f"{section.name}.{f.name}": f.metadata["help"]
        for section in fields(Settings)
        for f in fields(type(getattr(Settings(), section.name)))
    }


def _known() -> dict[str, Any]:
    types: dict[str, Any] = {}
    for section in fields(Settings):
        kind = type(getattr(Settings(), section.name))
        hints = get_type_hints(kind)
        types |= {f"{section.name}.{f.name}": hints[f.name] for f in dataclasses.fields(kind)}
    return types


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"expected valid TOML in {path}, got: {error}",
            f"{path} 应为有效的 TOML：{error}",
            param=str(path),
        ) from error
    flat: dict[str, Any] = {}
    for section, values in tree.items():
        if not isinstance(values, dict):
            flat[section] = values
        else:
            flat |= {f"{section}.{name}": value for name, value in values.items()}
    return flat


def _check_name(name: str, known: Mapping[str, Any], where: str) -> str:
    if name not in known:
        raise SettingsError(
            f"{where}: there is no setting {name!r}; expected one of {', '.join(known)}",
            f"{where}：没有名为 {name!r} 的设置；可用的有 {', '.join(known)}",
            param=name,
        )
    return name


def _convert(name: str, value: Any, known: Mapping[str, Any]) -> Any:
    kind = known[name]
    try:
        if get_origin(kind) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(get_args(kind)[0](part) for part in parts if part != "")
        if kind is bool:
            return _boolean(value)
        if isinstance(value, bool):
            raise ValueError("a truth value")
        converted = kind(value)
    except (TypeError, ValueError) as error:
        wanted = getattr(kind, "__name__", str(kind))
        raise SettingsError(
            f"{name}: expected {wanted}, got {value!r}",
            f"{name}：应为 {wanted}，实际为 {value!r}",
            param=name,
        ) from error
    if isinstance(converted, int | float) and not converted >= 0:
        raise SettingsError(
            f"{name}: expected a number of at least 0, got {value!r}",
            f"{name}：应为不小于 0 的数，实际为 {value!r}",
            param=name,
        )
    return converted


def _check_choices(section: str, settings: Any) -> None:
    for f in fields(settings):
        choices, value = f.metadata.get("choices"), getattr(settings, f.name)
        if choices and value not in choices:
            raise SettingsError(
                f"{section}.{f.name}: expected {' or '.join(choices)}, got {value!r}",
                f"{section}.{f.name}：应为 {' 或 '.join(choices)}，实际为 {value!r}",
                param=f"{section}.{f.name}",
            )


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError(value)
