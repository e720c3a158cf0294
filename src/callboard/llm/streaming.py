"""A streamed answer that is let go of as soon as nobody wants more of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import cast

from callboard.llm.provider import LLMChunk, LLMProvider, LLMRequest


def chunks_of(provider: LLMProvider, request: LLMRequest) -> contextlib.aclosing[AsyncGenerator[LLMChunk, None]]:
    """The stream as a context: left early, the call ends then, and not when the garbage is collected."""
    return contextlib.aclosing(cast("AsyncGenerator[LLMChunk, None]", provider.stream(request)))
