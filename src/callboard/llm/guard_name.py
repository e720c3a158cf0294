"""The names under which all workers know the same provider; pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from callboard.ids import derive_id
from callboard.llm.provider import LLMConfig

_LONGEST = 180


def server_name(config: LLMConfig) -> str:
    """What fails as one: a provider at one address. A script plays a provider of its own."""
    if config.provider == "scripted":
        return f"scripted@{derive_id(config.model_id, repr(config.script))[:12]}"
    return server_at(config.provider, config.base_url)


def server_at(provider: str, base_url: str | None) -> str:
    """The name of a provider that has an address."""
    return provider if base_url is None else _bounded(f"{provider}@{_host(base_url)}")


def model_name(config: LLMConfig) -> str:
    """What asks to be left alone as one: providers limit each model by itself."""
    return model_at(server_name(config), config.model_id)


def model_at(server: str, model_id: str) -> str:
    """The name of one of its models."""
    return _bounded(f"{server}/{model_id}")


def _host(url: str) -> str:
    """Without user, password and path: it stands in tables and metrics."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        return derive_id("base_url", url)[:12]  # a reference to the environment, or nothing that could be shown
    return host if port is None else f"{host}:{port}"


def _bounded(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}~{derive_id(name)[:12]}"
