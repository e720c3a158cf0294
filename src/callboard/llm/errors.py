"""What a model provider can answer with instead of a completion, in the terms that decide what happens next."""

from __future__ import annotations

from callboard.errors import CallboardError, InvalidInputError


class LLMProviderError(CallboardError):
    """The root: a completion was asked for and none came. Not retried unless a subclass says otherwise."""

    code = "provider_error"
    retryable = False


class LLMRateLimitError(LLMProviderError):
    """The provider asks to be left alone for a while; the engine waits and tries again within the run's deadline.

    `retry_after` is in seconds, None when the provider named no time.
    """

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LLMServiceUnavailableError(LLMProviderError):
    """A server error, a timeout, a broken connection or a truncated answer: another attempt may succeed.

    `retry_after` is in seconds, None when nobody named a time.
    """

    code = "provider_unavailable"
    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LLMHeldBackError(LLMServiceUnavailableError):
    """The provider has failed so often that no worker asks it for `retry_after` seconds; nothing was sent."""


class LLMUnavailableEverywhereError(LLMServiceUnavailableError):
    """Neither the model nor any of its fallbacks can be had; asking again makes sense after `retry_after` seconds."""


class LLMAuthenticationError(LLMProviderError):
    """The key is missing, wrong or not allowed to use the model: a person has to act."""

    code = "provider_authentication"


class LLMInvalidRequestError(LLMProviderError):
    """The provider will refuse this request however often it is sent (unknown model, context too long, …)."""

    code = "provider_invalid_request"


class LLMModelNotFoundError(LLMInvalidRequestError):
    """The provider has no such model, or none for this account: another model may answer the same request."""

    code = "provider_model_not_found"


class LLMContextTooLongError(LLMInvalidRequestError):
    """The conversation is longer than the model takes: a shorter one may be answered."""

    code = "provider_context_too_long"


class UnknownProviderError(InvalidInputError, ValueError):
    """No provider of that name exists in this release."""

    code = "unknown_provider"
