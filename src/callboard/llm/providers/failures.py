"""What the model layer raises, told as one of our own errors (llm/errors.py); pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelTimeoutError,
    UserError,
)

from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMContextTooLongError,
    LLMInvalidRequestError,
    LLMModelNotFoundError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)

LONGEST_WAIT_SECONDS = 86_400.0
_LONGEST_QUOTE = 300
_UNREACHED = "Connection error"
"""What the SDKs of OpenAI and Anthropic say, and no more, of an address where nobody answers."""
_AGAIN_LATER = frozenset({408, 409, 424, 425})
"""Statuses under 500 that say nothing about the request itself: timeouts, conflicts, a model that broke off."""
_BEDROCK_THROTTLING = re.compile(r"Throttling|TooManyRequests|LimitExceeded", re.IGNORECASE)
_BEDROCK_ACCESS = re.compile(r"AccessDenied|UnrecognizedClient|InvalidSignature|ExpiredToken|Unauthorized|Credential")
_KEY_LIKE = re.compile(r"\b(?:sk|pk|AKIA|ASIA|key)[-_A-Za-z0-9*]{8,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Failures:
    """Tells failures of one model of one provider, in words that hold no secret."""

    def __init__(
        self, provider: str, model_id: str, *, key_help: str, secrets: Sequence[str] = (), url: str | None = None
    ) -> None:
        """`key_help` is what to tell people whose key is refused, `url` where the provider is."""
        self._who = f"{provider} model {model_id}"
        self._key_help = key_help
        self._place = "" if url is None else urlsplit(url).netloc.rpartition("@")[2]
        self._secrets = tuple(secret for secret in secrets if secret)

    def told(self, error: Exception) -> LLMProviderError:
        """Ours for any exception that came out of a call; never raises."""
        if isinstance(error, LLMProviderError):
            return error
        if isinstance(error, TimeoutError):
            return self.unavailable("it did not answer in time")
        if isinstance(error, ModelHTTPError):
            return self._by_status(error)
        if isinstance(error, ModelAPIError):
            return self._by_kind(error)
        if isinstance(error, UserError):
            return LLMInvalidRequestError(f"{self._who} cannot be asked this: {self._quote(error.message)}")
        return self._by_name(error)

    def unavailable(self, what: str, retry_after: float | None = None) -> LLMServiceUnavailableError:
        told = f"{self._who}: {what}; it is tried again later"
        return LLMServiceUnavailableError(told, retry_after=_bounded(retry_after))

    def _by_status(self, error: ModelHTTPError) -> LLMProviderError:
        status, said = error.status_code, self._said(error)
        if status == 429 or isinstance(error, ModelRateLimitError):
            return self._rate_limit(error, f"{status}{said}")
        if status in (401, 403):
            return self._authentication(f"{status}{said}")
        if status == 402 or isinstance(error, ModelQuotaExceededError):
            return LLMAuthenticationError(f"{self._who}: {status}{said}; the account needs credit")
        if isinstance(error, ModelContextWindowExceededError):
            return LLMContextTooLongError(f"{self._who}: {status}{said}; the conversation has to be shorter")
        if status >= 500 or status in _AGAIN_LATER or status < 400:
            return self.unavailable(f"{status}{said}", error.retry_after)
        if status == 404 or isinstance(error, ModelNotFoundError):
            return LLMModelNotFoundError(
                f"{self._who}: {status}{said}; see that llm_config.model_id and base_url are right"
            )
        return LLMInvalidRequestError(f"{self._who}: {status}{said}; the same request would be refused again")

    def _by_kind(self, error: ModelAPIError) -> LLMProviderError:
        said = self._quote(error.message)
        if isinstance(error, ModelRateLimitError):
            return self._rate_limit(error, said)
        if isinstance(error, ModelTimeoutError):
            return self.unavailable("it did not answer in time")
        if isinstance(error, ModelContextWindowExceededError):
            return LLMContextTooLongError(f"{self._who}: {said}; the conversation has to be shorter")
        if said.rstrip(".") == _UNREACHED and self._place:
            return self.unavailable(f"{self._place} cannot be reached, or broke the connection")
        return self.unavailable(said)

    def _by_name(self, error: Exception) -> LLMProviderError:
        """Exceptions of libraries below the model layer, which it lets through: only their names are sure."""
        name = type(error).__name__
        if _BEDROCK_ACCESS.search(name):
            return self._authentication(name)
        if _BEDROCK_THROTTLING.search(name):
            return LLMRateLimitError(f"{self._who}: {name}")
        return self.unavailable(f"its answer cannot be used ({name})")

    def _rate_limit(self, error: ModelAPIError, said: str) -> LLMRateLimitError:
        wait = _bounded(error.retry_after)
        when = "" if wait is None else f"; again in {wait:g} s"
        return LLMRateLimitError(f"{self._who}: {said}{when}", retry_after=wait)

    def _authentication(self, said: str) -> LLMAuthenticationError:
        return LLMAuthenticationError(f"{self._who}: {said}; {self._key_help}")

    def _said(self, error: ModelHTTPError) -> str:
        words = _message_in(error.body)
        return f" ({self._quote(words)})" if words else ""

    def _quote(self, words: str) -> str:
        """What a stranger wrote: one short line that holds no key and no sign that a terminal would obey."""
        for secret in self._secrets:
            words = words.replace(secret, "[redacted]")
        line = _CONTROL.sub(" ", _KEY_LIKE.sub("[redacted]", words)).encode("utf-8", "replace").decode()
        return line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}…"


def _bounded(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)


def _message_in(body: object) -> str:
    """The words in an error's body, wherever this provider puts them."""
    if isinstance(body, str):
        return body
    if not isinstance(body, Mapping):
        return ""
    for name in ("error", "Error", "message", "Message", "detail"):
        inner = body.get(name)
        if inner:
            return inner if isinstance(inner, str) else _message_in(inner)
    return ""
