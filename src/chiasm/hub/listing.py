"""What a hub has under a name: files, sizes, hashes, the commit and the licence."""

import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from chiasm.errors import CheckpointError, ChiasmError, FetchFailed
from chiasm.hub.names import HubSource

ENDPOINTS = {
    "hf": ("HF_ENDPOINT", "https://huggingface.co"),
    "modelscope": ("MODELSCOPE_ENDPOINT", "https://modelscope.cn"),
}
TOKENS = {"hf": "HF_TOKEN", "modelscope": "MODELSCOPE_TOKEN"}
DEFAULT_REVISION = {"hf": "main", "modelscope": "master"}
WANTED = re.compile(
    r"((open_clip_)?config|tokenizer|tokenizer_config|special_tokens_map|preprocessor_config|processor_config|modules"
    r"|sentence_bert_config|generation_config|1_Pooling/config|vocab|added_tokens|preprocess|calibration|hearing"
    r"|model\.safetensors\.index)\.json|vocab\.txt|merges\.txt|words\.txt|lexicon\.bin"
    r"|model(-\d{5}-of-\d{5})?\.safetensors|open_clip_model\.safetensors|README\.md|LICEN[CS]E(\.\w+)?"
)
MANIFESTS = {"config.json", "open_clip_config.json"}
PICKLE = "pytorch_model.bin"
WEIGHTS = ".safetensors"
TIMEOUT = 30.0  # seconds without a byte
LISTING_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class File:
    """``git`` is the SHA-1 of git's blob, for small files of the Hugging Face hub; others have ``sha256``."""

    path: str
    size: int
    sha256: str | None = None
    git: str | None = None


TASKS: Mapping[str, tuple[str, ...]] = {
    "sentence-similarity": ("text",),
    "feature-extraction": ("text",),
    "text-ranking": ("text",),
    "image-feature-extraction": ("image", "video"),
    "zero-shot-image-classification": ("text", "image", "video"),
    "zero-shot-audio-classification": ("text", "audio"),
    "automatic-speech-recognition": ("audio",),
}
"""What models for a hub's task take."""
_LANGUAGE = re.compile(r"[A-Za-z-]{2,12}")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a hub has under a name. Languages and modalities as card and task say; often they do not."""

    source: HubSource
    endpoint: str
    commit: str
    licence: str
    files: tuple[File, ...]
    languages: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files that would be fetched."""
        return sum(file.size for file in self.files)


def look(source: HubSource, endpoint: str | None = None) -> Offer:
    """Ask the hub what it has; nothing is fetched yet.

    Args:
        endpoint: of a mirror; else ``HF_ENDPOINT`` or ``MODELSCOPE_ENDPOINT``, else the hub's own.

    Raises:
        FetchFailed: it cannot be reached, or has no such model.
        CheckpointError: it lists nothing that could be a model, or names that lead elsewhere.
    """
    variable, own = ENDPOINTS[source.hub]
    base = (endpoint or os.environ.get(variable) or own).rstrip("/")
    revision = source.revision or DEFAULT_REVISION[source.hub]
    if source.hub == "hf":
        offer = _look_at_hugging_face(source, base, revision)
    else:
        offer = _look_at_modelscope(source, base, revision)
    for file in offer.files:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise _bad_listing(source, f"the path {file.path!r}")
    wanted = [file for file in offer.files if WANTED.fullmatch(file.path)]
    if any(file.path == "model.safetensors" for file in wanted):  # the same weights under another name
        wanted = [file for file in wanted if not file.path.startswith("open_clip_")]
    if not any(file.path.endswith(WEIGHTS) for file in wanted):
        wanted += [file for file in offer.files if file.path == PICKLE]
    names = {file.path for file in wanted}
    if not names & MANIFESTS or not any(name.endswith((WEIGHTS, PICKLE)) for name in names):
        raise _bad_listing(source, "no config.json with weights")
    return replace(offer, files=tuple(wanted))


def _look_at_hugging_face(source: HubSource, base: str, revision: str) -> Offer:
    url = f"{base}/api/models/{source.id}/revision/{quote(revision, safe='')}?blobs=true"
    found = _asked(url, source)
    files = []
    for entry in _list(found.get("siblings"), source):
        large = _table(entry.get("lfs"))
        files.append(
            _file(
                source,
                entry.get("rfilename"),
                entry.get("size"),
                sha256=large.get("sha256"),
                git=entry.get("blobId"),
            )
        )
    card = _table(found.get("cardData"))
    return Offer(
        source=source, endpoint=base, commit=_commit(source, found.get("sha")),
        licence=str(card.get("license") or ""), files=tuple(files),
        languages=_languages(card.get("language")), modalities=TASKS.get(str(found.get("pipeline_tag")), ()),
    )  # fmt: skip


def _look_at_modelscope(source: HubSource, base: str, revision: str) -> Offer:
    url = f"{base}/api/v1/models/{source.id}"
    listed = _asked(f"{url}/repo/files?Revision={quote(revision, safe='')}&Recursive=true", source)
    data = _table(listed.get("Data"))
    entries = [e for e in _list(data.get("Files"), source) if e.get("Type") != "tree"]
    files = tuple(_file(source, e.get("Path"), e.get("Size"), sha256=e.get("Sha256")) for e in entries)
    commit = _table(data.get("LatestCommitter")).get("Id")
    licence = _table(_asked(url, source).get("Data")).get("License")
    # without a commit the listing itself says which state this is
    state = hashlib.sha256(repr(sorted((f.path, f.sha256) for f in files)).encode()).hexdigest()[:40]
    return Offer(
        source=source,
        endpoint=base,
        commit=_commit(source, commit or state),
        licence=str(licence or ""),
        files=files,
    )


def _file(source: HubSource, path: object, size: object, **hashes: Any) -> File:
    known = {name: value for name, value in hashes.items() if isinstance(value, str) and value}
    if not isinstance(path, str) or type(size) is not int or size < 0 or not known:
        raise _bad_listing(source, f"{path!r} without size or hash")
    if "sha256" in known:
        known.pop("git", None)
    return File(path=path, size=size, **known)


def _commit(source: HubSource, found: object) -> str:
    if not isinstance(found, str) or not re.fullmatch(r"[0-9a-f]{7,64}", found):
        raise _bad_listing(source, f"the commit {found!r}")
    return found


def _languages(found: object) -> tuple[str, ...]:
    """Of a card: one or a list of them."""
    listed = found if isinstance(found, list) else [found]
    return tuple(one for one in listed if isinstance(one, str) and _LANGUAGE.fullmatch(one))


def _table(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _list(found: object, source: HubSource) -> list[Mapping[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise _bad_listing(source, "no list of files")
    return found


def _asked(url: str, source: HubSource) -> Mapping[str, Any]:
    try:
        with opened(url, source.hub) as answer:
            body = answer.read(LISTING_BYTES)
        found = json.loads(body)
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(source, url, error) from error
    except ValueError as error:
        raise _bad_listing(source, "something that is not JSON") from error
    if not isinstance(found, Mapping):
        raise _bad_listing(source, f"{type(found).__name__}")
    return found


class _SameHostKeepsTheToken(urllib.request.HTTPRedirectHandler):
    """Hubs send on to where files lie: nobody there needs to know who asks."""

    def redirect_request(self, req: urllib.request.Request, *rest: Any) -> urllib.request.Request | None:
        following = super().redirect_request(req, *rest)
        if following is not None:
            there, here = urlsplit(following.full_url), urlsplit(req.full_url)
            if here.scheme == "https" and there.scheme != "https":
                raise urllib.error.URLError(f"sent on from https to {there.scheme}")
            if there.netloc != here.netloc:
                following.remove_header("Authorization")
        return following


@contextmanager
def opened(
    url: str, hub: str, headers: Mapping[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise urllib.error.URLError(f"expected an http or https address, got {url}")
    request = urllib.request.Request(
        url, headers={"User-Agent": "chiasm", "Accept-Encoding": "identity", **(headers or {})}
    )
    if token := os.environ.get(TOKENS[hub]):
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.build_opener(_SameHostKeepsTheToken()).open(request, timeout=TIMEOUT) as answer:
        yield answer


def unreachable(source: HubSource, what: str, error: Exception) -> ChiasmError:
    if isinstance(error, urllib.error.HTTPError) and error.code in {401, 403, 404}:
        variable = TOKENS[source.hub]
        return FetchFailed(
            f"{source}: the hub says {error.code} for {what}: no such model, or it needs {variable}",
            f"{source}：模型社区对 {what} 返回 {error.code}：没有此模型或版本，或需要设置 {variable}",
            param="source",
        )
    return FetchFailed(
        f"{source}: {what} cannot be fetched: {error}", f"{source}：无法获取 {what}：{error}", param="source"
    )


def _bad_listing(source: HubSource, got: str) -> CheckpointError:
    return CheckpointError(
        f"{source}: expected a list of files with sizes and hashes, got {got}",
        f"{source}：应为带大小与哈希的文件列表，实际为{got}",
        param="source",
    )
