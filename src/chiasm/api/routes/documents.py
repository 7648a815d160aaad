"""``/openapi.json`` and ``/docs``: the contract for programs and for people, with nothing from elsewhere."""

from flask import Blueprint, Response, current_app, render_template

import chiasm
from chiasm.api.answers import reply
from chiasm.api.contract import openapi
from chiasm.api.web import version

blueprint = Blueprint("documents", __name__)


@blueprint.get("/openapi.json")
def document() -> Response:
    """The OpenAPI 3.1 document."""
    return reply(openapi(current_app, chiasm.__version__))


@blueprint.get("/docs")
def docs() -> Response:
    """The same, to read and try."""
    return Response(render_template("chiasm/docs.html", version=version()), mimetype="text/html")
