"""What the owner of an installation gives its model providers: keys and addresses, and to whom a key may be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

OLLAMA_PORT = 11434
OLLAMA_DEFAULT = f"http://127.0.0.1:{OLLAMA_PORT}"
AWS_DEFAULT_REGION = "us-east-1"
"""For an endpoint of one's own, which has no regions but wants a signature for one."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_REFERENCE = re.compile(r"\$\{env:[^}]+\}(?:/.*)?")
"""A path may follow, nothing that could be more of a host's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAccess:
    """From the environment or `.env`; None for what is not set. `aws_elsewhere`: the account's keys are where AWS's
    own libraries look for them (a profile, a role of the container)."""

    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    aws_access_key_id: str | None = field(default=None, repr=False)
    aws_secret_access_key: str | None = field(default=None, repr=False)
    aws_session_token: str | None = field(default=None, repr=False)
    aws_region: str | None = None
    aws_endpoint_url: str | None = None
    aws_elsewhere: bool = False
    ollama_host: str | None = None

    def missing(self) -> Mapping[str, str]:
        """By provider, what it lacks to be asked, and what to do."""
        found = {}
        if self.openai_api_key is None and self.openai_base_url is None:
            found["openai"] = _no_key("OPENAI_API_KEY", "an OpenAI-compatible server")
        if self.anthropic_api_key is None and self.anthropic_base_url is None:
            found["anthropic"] = _no_key("ANTHROPIC_API_KEY", "a server that speaks Anthropic's messages")
        keys = self.aws_access_key_id is not None and self.aws_secret_access_key is not None
        if not keys and not self.aws_elsewhere:
            found["bedrock"] = (
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: add them to the environment or .env of the "
                "agent pools, or give these an AWS role or AWS_PROFILE"
            )
        elif self.aws_region is None and self.aws_endpoint_url is None:
            found["bedrock"] = "AWS_REGION is not set: add the region of the models to the environment or .env"
        return found


def _no_key(name: str, server: str) -> str:
    return (
        f"{name} is not set: add it to the environment or .env of the agent pools and restart them, or name "
        f"{server} under llm_config.base_url"
    )


def key_for(key: str | None, *, written: str | None, url: str, trusted_urls: tuple[str | None, ...]) -> str | None:
    """The key if this server may see it, else None.

    Many may write agent files, and a `base_url` in one must not be a way to read the owner's key (DESIGN.md, R27).
    Trusted are this machine and the owner's own words: the provider's address, the one in the environment, and a
    `${env:NAME}`.
    """
    if written is None or _REFERENCE.fullmatch(written) or urlsplit(url).hostname in LOOPBACK:
        return key
    origins = {_origin(trusted) for trusted in trusted_urls if trusted is not None}
    return key if _origin(url) in origins else None


def ollama_url(host: str | None) -> str:
    """The root of the server that OLLAMA_HOST or a `base_url` means: `host`, `host:port`, or a URL, with or without
    `/v1`; an address to listen on means this machine."""
    if not host:
        return OLLAMA_DEFAULT
    parts = urlsplit(host if "://" in host else f"http://{host}")
    name = parts.hostname or "127.0.0.1"
    if name in ("0.0.0.0", "::"):  # noqa: S104  # what Ollama listens on, not what we do
        name = "127.0.0.1"
    shown = f"[{name}]" if ":" in name else name
    port = parts.port or (None if "://" in host else OLLAMA_PORT)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{path}"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
