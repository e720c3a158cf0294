"""Where secrets stand in a file although they must not, and references where nobody reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from callboard.config.loader import YamlDocument
from callboard.config.problems import Path, Problem, shown
from callboard.config.secrets import BARE_REFERENCE, REFERENCE, is_secret_key, literal_secret, refused_reason

_SECRETS_ALLOWED = re.compile(
    r"tools\.\d+\.(?:with\.|mcp\.url$|mcp\.headers\.|mcp\.env\.)|llm_config\.(?:fallback\.\d+\.)?base_url$"
)
_OPEN_REFERENCE = re.compile(r"\$\{env:[^}]*$")


def problem_at(document: YamlDocument, path: Path, file: str, message: str, hint: str) -> Problem:
    """The problem at the place of a path in the document."""
    line, column = document.root.locate(path) if document.root else (1, 1)
    return Problem(file=file, line=line, column=column, message=message, hint=hint)


def secret_problems(document: YamlDocument, value: object, file: str) -> Iterator[Problem]:
    """Literal secrets in the text, and in `value` (the document's plain content) references that are not read there."""
    yield from _literal_secrets(document.text, file)
    for path, text in _texts(value, ()):
        if "${" in text:
            yield from _reference_problems(document, path, text, file)
        elif text and path[:1] == ("tools",) and _literal_where_a_secret_belongs(path):
            message = f"'{shown(path[-1])}' holds a secret literally"
            yield problem_at(document, path, file, message, "write ${env:NAME}")


def _reference_problems(document: YamlDocument, path: Path, text: str, file: str) -> Iterator[Problem]:
    allowed = _SECRETS_ALLOWED.match(".".join(map(str, path))) is not None
    if _OPEN_REFERENCE.search(text):
        yield problem_at(document, path, file, "'${env:' is not closed", "write ${env:NAME}")
    for name in REFERENCE.findall(text):
        reason = refused_reason(name)
        if not allowed:
            message = f"${{env:{shown(name)}}} is not read here"
            yield problem_at(
                document, path, file, message, "allowed under tools.with, in MCP urls, headers and env, base_url"
            )
        elif reason is not None:
            yield problem_at(document, path, file, reason, "give the agent a variable of its own")
    if allowed:
        for name in BARE_REFERENCE.findall(text):
            message = f"${{{shown(name)}}} is not read here"
            yield problem_at(document, path, file, message, f"write ${{env:{shown(name)}}}")


def _literal_where_a_secret_belongs(path: Path) -> bool:
    inside = any(part in path[2:] for part in ("with", "headers", "env"))
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    return inside and is_secret_key(key)


def _literal_secrets(text: str, file: str) -> Iterator[Problem]:
    if literal_secret(text) is None:
        return
    for number, line in enumerate(text.splitlines(), 1):
        found = literal_secret(line)
        if found is not None:
            kind, start = found
            yield Problem(
                file=file,
                line=number,
                column=start + 1,
                message=f"{kind} stands here literally",
                hint="write ${env:NAME}, and replace the secret: it has been in a file",
            )


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
