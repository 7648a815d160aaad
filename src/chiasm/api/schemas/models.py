"""``/v1/models``."""

from pydantic import Field

from chiasm.api.schemas.base import Body, QueryString


class AddModelBody(Body):
    """``source``: a folder of the server's machine, or ``hf:OWNER/NAME``, ``modelscope:OWNER/NAME``, perhaps
    with ``@REVISION``. ``name``: what requests will call it; its own name without one.
    """

    source: str = Field(min_length=1, max_length=4096)
    name: str | None = Field(default=None, min_length=1, max_length=64)


class OfferQuery(QueryString):
    """``source``: a name on a hub."""

    source: str = Field(min_length=1, max_length=400)
