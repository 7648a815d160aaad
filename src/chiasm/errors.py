"""One exception tree.

Every error knows a stable ``code``, the input it is about (``param``), and says in English and in
Chinese what was expected and what came. Layers raise these; one place in ``api`` maps them to HTTP and
one place in ``cli`` maps them to exit codes.
"""

from typing import ClassVar, Literal, Self

Language = Literal["en", "zh"]


class ChiasmError(Exception):
    """Base of all errors that chiasm raises on purpose.

    Args:
        en: the message in English: "expected …, got …", or what was wrong and what would be right.
        zh: the same in Chinese.
        param: path of the offending input, such as ``input[3].image_url.url``.
        code: a more precise code than the class's own.
        retry_after: seconds after which trying again makes sense.
    """

    code: str = "internal_error"
    kind: ClassVar[str] = "server_error"

    def __init__(
        self,
        en: str,
        zh: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(en)
        self.en = en
        self.zh = zh
        self.param = param
        self.retry_after = retry_after
        if code is not None:
            self.code = code

    def message(self, language: Language = "en") -> str:
        """The message in ``language``."""
        return self.zh if language == "zh" else self.en

    def about(self, name: str) -> Self:
        """Begin both messages with the name of the file that this error is about, unless they have it."""
        if name not in self.en:
            self.en, self.zh = f"{name}: {self.en}", f"{name}：{self.zh}"
            self.args = (self.en,)
        return self

    def at(self, prefix: str) -> Self:
        """Name the input this error is about, outermost part last called: ``e.at("url").at("input[3]")``."""
        self.param = prefix if not self.param else f"{prefix}.{self.param}"
        return self


class InvalidInput(ChiasmError):
    """A value that is not what the contract asks for."""

    code = "invalid_value"
    kind = "invalid_request_error"


class UnsupportedMedia(ChiasmError):
    """Bytes that are not media we can decode, or not of the kind that was announced."""

    code = "unsupported_media"
    kind = "invalid_request_error"


class TooLarge(ChiasmError):
    """An input beyond one of the configured limits."""

    code = "too_large"
    kind = "invalid_request_error"


class NotFound(ChiasmError):
    """Something named that does not exist."""

    code = "not_found"
    kind = "invalid_request_error"


class Conflict(ChiasmError):
    """A change that contradicts the present state."""

    code = "conflict"
    kind = "invalid_request_error"


class Unauthorized(ChiasmError):
    """No key, or a key nobody issued."""

    code = "invalid_api_key"
    kind = "authentication_error"


class Forbidden(ChiasmError):
    """A caller or an address that is not allowed to do this."""

    code = "forbidden"
    kind = "permission_error"


class Overloaded(ChiasmError):
    """The queue is full, or the engine is starting or draining: try again later."""

    code = "overloaded"
    kind = "server_error"


class RateLimited(Overloaded):
    """One caller asks for more than its share; the code says of what: requests, a budget, the queue."""

    code = "rate_limited"
    kind = "rate_limit_error"


class DeadlineExceeded(ChiasmError):
    """The answer did not come within the caller's deadline; the work was dropped."""

    code = "deadline_exceeded"
    kind = "server_error"


class CallerLeft(ChiasmError):
    """Nobody waits for the answer any more; the work was dropped."""

    code = "caller_left"
    kind = "invalid_request_error"


class FetchFailed(ChiasmError):
    """A remote address that could not be read."""

    code = "fetch_failed"
    kind = "invalid_request_error"


class CheckpointError(ChiasmError):
    """A checkpoint folder that is incomplete, corrupt or of another model."""

    code = "invalid_checkpoint"
    kind = "server_error"


class SettingsError(ChiasmError):
    """A setting with a value that cannot be used."""

    code = "invalid_setting"
    kind = "invalid_request_error"


class DataError(ChiasmError):
    """A source of training data that is missing or is not what it should be."""

    code = "invalid_data"
    kind = "server_error"


class StoreError(ChiasmError):
    """The data directory cannot be used: locked, full or damaged."""

    code = "store_unavailable"
    kind = "server_error"


class StorageFull(StoreError):
    """No room is left where something was to be kept; nothing of it was."""

    code = "storage_full"
