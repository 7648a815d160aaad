"""The one page: put media in, search them, in Chinese or English.

The page holds no logic of its own that the HTTP interface does not have; everything it does goes through
``/v1``. No build step, no third-party script, nothing loaded from elsewhere.
"""

from chiasm.api.web.page import blueprint, version

__all__ = ["blueprint", "version"]
