"""Secrets of agent files: where they may stand, how they are resolved when used, how literal ones are recognised."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from callboard.errors import ForbiddenError, InvalidInputError

REFERENCE = re.compile(r"\$\{env:([^}]*)\}")
BARE_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

REFUSED_PREFIXES = ("CALLBOARD_", "SLACK_", "AWS_")
REFUSED_NAMES = frozenset({"DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"})
"""The platform's own: an agent file, which many may write, must not be a way to read them (DESIGN.md, R27)."""

_LITERALS = (
    ("an API key", ("sk-",), re.compile(r"\bsk-[A-Za-z0-9_-]{16,}")),
    ("a Slack token", ("xox", "xapp-"), re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}")),
    ("an AWS access key", ("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a GitHub token", ("gh", "github_"), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}")),
    ("a private key", ("PRIVATE KEY",), re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a password in a URL", ("://",), re.compile(r"://[^/\s:@'\"]*:(?!\$\{)[^@/\s'\"]+@")),
)
"""(kind, what one of must occur at all, which is a fast look, what it looks like)"""
_SECRET_KEY = re.compile(r"(?:^|[_-])(?:password|passwd|secret|token|api[_-]?key|authorization)$", re.IGNORECASE)


def refused_reason(name: str) -> str | None:
    """Why an agent file may not refer to this variable; None where it may."""
    if not _NAME.fullmatch(name):
        return f"'{name[:60]}' is no name of an environment variable"
    upper = name.upper()
    if upper in REFUSED_NAMES or upper.startswith(REFUSED_PREFIXES):
        return f"{name} belongs to Callboard itself and is not for agent files"
    return None


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """The text with each `${env:NAME}` replaced; called where the value is used, never before.

    Raises ForbiddenError for a name that agent files may not read, InvalidInputError for one that is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        reason = refused_reason(name)
        if reason is not None:
            raise ForbiddenError(f"${{env:{name}}}: {reason}", code="secret_refused")
        if name not in environment:
            raise InvalidInputError(
                f"${{env:{name}}} is not set: add {name} to the environment of this service", code="secret_missing"
            )
        return environment[name]

    return REFERENCE.sub(value, text)


def resolve_tree(value: object, environment: Mapping[str, str]) -> object:
    """`resolve` for every text in a tree of mappings and lists; keys stay as they are."""
    if isinstance(value, str):
        return resolve(value, environment)
    if isinstance(value, Mapping):
        return {key: resolve_tree(item, environment) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve_tree(item, environment) for item in value]
    return value


def references(value: object) -> Iterator[str]:
    """The names of all variables that a tree refers to."""
    if isinstance(value, str):
        yield from REFERENCE.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def known_secrets(environment: Mapping[str, str], names: frozenset[str] = frozenset()) -> frozenset[str]:
    """The values to take out of logs and messages: what is named like a secret, what agent files refer to (`names`),
    and the passwords inside URLs. One that equals the user's name (guest:guest, callboard:callboard) is no secret and
    a common word."""
    values = {value for name, value in environment.items() if value and (_SECRET_KEY.search(name) or name in names)}
    values |= {
        password
        for value in environment.values()
        for user, password in re.findall(r"://([^/\s:@]*):([^@/\s]+)@", value)
        if password != user
    }
    return frozenset(values)


def is_telling(value: str) -> bool:
    """Whether a value that an agent file refers to is none that people say by chance: then it is taken out of what
    models and people read too."""
    return len(value) >= 12 or (len(value) >= 8 and not value.isalpha())


def literal_secret(text: str) -> tuple[str, int] | None:
    """What kind of secret stands literally in the text and where it begins; never the secret itself."""
    for kind, beginnings, pattern in _LITERALS:
        if any(beginning in text for beginning in beginnings) and (match := pattern.search(text)):
            return kind, match.start()
    return None


def is_secret_key(key: str) -> bool:
    """Whether a setting of this name is expected to hold a secret."""
    return _SECRET_KEY.search(key) is not None
