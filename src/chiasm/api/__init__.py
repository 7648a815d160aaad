"""The HTTP interface: ``create_app(ApiContext(…))`` is a Flask application."""

from chiasm.api.app import create_app
from chiasm.api.context import ApiContext

__all__ = ["ApiContext", "create_app"]
