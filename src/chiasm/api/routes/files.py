"""``/v1/files``: OpenAI's files, with their bytes and small pictures of them."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, request, send_file

from chiasm.api.answers import deleted, page, reply
from chiasm.api.bodies import is_form, read_form, validated
from chiasm.api.context import context, state
from chiasm.api.forms import single_file
from chiasm.api.inputs import seconds_left
from chiasm.api.pictures import picture_at
from chiasm.api.schemas.base import QueryString
from chiasm.api.schemas.files import FilesCursor, ThumbnailQuery, UploadForm
from chiasm.api.security import FILE_POLICY
from chiasm.api.uploads import HEAD_BYTES, keep
from chiasm.errors import ChiasmError, NotFound, UnsupportedMedia
from chiasm.media import MediaType, sniff
from chiasm.modality import Modality
from chiasm.stores import FileRecord

blueprint = Blueprint("files", __name__, url_prefix="/v1/files")
CACHE = "private, max-age=86400"


@blueprint.post("")
def upload_file() -> Response:
    """Keep a file."""
    if not is_form():
        raise UnsupportedMedia(
            "expected multipart/form-data with a field named file",
            "应为 multipart/form-data，文件字段名为 file",
            param="Content-Type",
        )
    form = read_form()
    body = validated(UploadForm, {name: given[-1] for name, given in form.values.items()})
    return reply(file_object(keep(single_file(form, "file"), body.purpose)))


@blueprint.get("")
def list_files() -> Response:
    """A page of the uploaded files."""
    query = validated(FilesCursor, request.args.to_dict())
    found = context().library.uploaded_files(**query.model_dump(exclude_none=True))
    return page([file_object(record) for record in found.data], has_more=found.has_more)


@blueprint.get("/<file_id>")
def get_file(file_id: str) -> Response:
    """What is known of a file."""
    return reply(file_object(context().library.get_file(file_id)))


@blueprint.delete("/<file_id>")
def delete_file(file_id: str) -> Response:
    """Delete a file, from all stores too."""
    context().library.delete_file(file_id)
    return deleted(file_id, "file")


@blueprint.get("/<file_id>/content")
def file_content(file_id: str) -> Response:
    """A file's bytes, whole or a range of them."""
    validated(QueryString, request.args.to_dict())
    library = context().library
    record = library.get_file(file_id)
    path = library.path_of(file_id)
    kind = kind_of(path)
    try:
        response = send_file(
            path,
            mimetype=kind.mime if kind else "application/octet-stream",
            conditional=True,
            etag=record.sha256 or True,
            max_age=0,
        )
    except OSError as error:
        raise _gone(file_id) from error
    shown_inline = kind is not None and kind.modality is not Modality.TEXT
    way = "inline" if shown_inline else "attachment"
    name = quote(Path(record.name).name, safe="")
    response.headers["Content-Disposition"] = f"{way}; filename*=UTF-8''{name}"
    response.headers["Content-Security-Policy"] = FILE_POLICY
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@blueprint.get("/<file_id>/thumbnail")
def file_thumbnail(file_id: str) -> Response:
    """A small WebP: the picture, a frame of the video, the waveform of the sound, a page of the PDF."""
    query = validated(ThumbnailQuery, request.args.to_dict())
    record = context().library.get_file(file_id)
    tag = f"{record.sha256 or record.mtime_ns}-{query.side}-{query.at}-{query.page}"
    response = Response(mimetype="image/webp")
    response.set_etag(tag)
    response.headers["Cache-Control"] = CACHE
    response.headers["Content-Security-Policy"] = FILE_POLICY
    if request.if_none_match.contains(tag):
        response.status_code = 304
        return response
    path = context().library.path_of(file_id)
    limits = context().settings.limits
    try:
        [picture] = state().decoding.map(
            lambda where: picture_at(where, limits, query.side, query.at, query.page),
            [path],
            seconds=seconds_left(),
        )
    except ChiasmError as error:
        error.param = error.param or "file_id"
        raise
    response.set_data(picture)
    return response


def file_object(record: FileRecord) -> dict[str, Any]:
    """OpenAI's file object, and what kind of content it is."""
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.bytes,
        "created_at": record.created_at,
        "filename": record.name,
        "purpose": record.purpose,
        "status": "processed",
        "mime": record.mime,
        "modality": record.modality or modality_of(record.mime),
    }


def modality_of(mime: str | None) -> str | None:
    """``image`` of ``image/png``."""
    kind = (mime or "").partition("/")[0]
    return kind if kind in set(Modality) else None


def kind_of(path: Path) -> MediaType | None:
    """What a file is by its content; ``None`` if it is not media.

    Raises:
        NotFound: it is not there any more.
    """
    try:
        with path.open("rb") as opened:
            return sniff(opened.read(HEAD_BYTES))
    except UnsupportedMedia:
        return None
    except OSError as error:
        raise _gone(path.name) from error


def _gone(name: str) -> NotFound:
    return NotFound(
        f"the content of {name!r} is not where it was",
        f"{name!r} 的内容已不在原处",
        param="file_id",
        code="content_gone",
    )
