"""One agent file from its bytes to a definition, or to everything that is wrong with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from callboard.config.definition import AgentDefinition
from callboard.config.enforcement import not_enforced
from callboard.config.loader import YamlDocument, read_yaml
from callboard.config.problems import Path, Problem, problems_of, shown
from callboard.config.refusal import suggestion
from callboard.config.secrets import BARE_REFERENCE, REFERENCE, is_secret_key, literal_secret, refused_reason

_SECRETS_ALLOWED = re.compile(
    r"tools\.\d+\.(?:with\.|mcp\.url$|mcp\.headers\.)|llm_config\.(?:fallback\.\d+\.)?base_url$"
)
_CLASHING: Mapping[str, Path] = {
    "name": ("name",),
    "commands": ("slack", "commands"),
    "members": ("collaboration", "members"),
}
_OPEN_REFERENCE = re.compile(r"\$\{env:[^}]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFile:
    """What came of reading a file: a definition, or problems. Warnings go with either.

    `source` is the text as it was read, empty where it was none; `name` is what the file calls its agent, if it can
    be told, so that a rejection can be shown with the agent that goes on in its last good version; `places` tells where
    what can clash with other files stands.
    """

    path: str
    digest: str
    source: str
    name: str | None
    definition: AgentDefinition | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def load_agent(data: bytes, path: str, *, known_tools: Collection[str] | None = None) -> AgentFile:
    """Reads, validates and checks one file; reports every problem at once, in the order of the lines.

    Without `known_tools` any tool name is accepted.
    """
    digest = hashlib.sha256(data).hexdigest()
    document = read_yaml(data, path)
    problems = list(document.problems)
    definition: AgentDefinition | None = None
    warnings: list[Problem] = []
    name = None
    if document.root is not None:
        value = document.root.plain()
        name = value.get("name") if isinstance(value, dict) else None
        try:
            definition = AgentDefinition.model_validate(value)
        except ValidationError as error:
            problems += problems_of(error, AgentDefinition, path, document.root.locate)
        problems += _secret_problems(document, value, path)
        if definition is not None:
            problems += _tool_problems(document, definition, path, known_tools)
            warnings += _warnings(document, definition, path)
    else:
        problems += _literal_secrets(document.text, path)
    ordered = tuple(sorted(set(problems), key=lambda problem: (problem.line, problem.column, problem.message)))
    return AgentFile(
        path=path,
        digest=digest,
        source=document.text,
        name=name if isinstance(name, str) else None,
        definition=None if ordered else definition,
        problems=ordered,
        warnings=tuple(warnings),
        places={key: document.root.locate(path) for key, path in _CLASHING.items()} if document.root else {},
    )


def unreadable(path: str, digest: str, problem: Problem) -> AgentFile:
    """A file that cannot or must not be read at all, for the reason given."""
    return AgentFile(path=path, digest=digest, source="", name=None, definition=None, problems=(problem,))


def _problem(document: YamlDocument, path: Path, file: str, message: str, hint: str) -> Problem:
    line, column = document.root.locate(path) if document.root else (1, 1)
    return Problem(file=file, line=line, column=column, message=message, hint=hint)


def _secret_problems(document: YamlDocument, value: object, file: str) -> Iterator[Problem]:
    yield from _literal_secrets(document.text, file)
    for path, text in _texts(value, ()):
        if "${" in text:
            yield from _reference_problems(document, path, text, file)
        elif text and path[:1] == ("tools",) and _literal_where_a_secret_belongs(path):
            message = f"'{shown(path[-1])}' holds a secret literally"
            yield _problem(document, path, file, message, "write ${env:NAME}")


def _reference_problems(document: YamlDocument, path: Path, text: str, file: str) -> Iterator[Problem]:
    allowed = _SECRETS_ALLOWED.match(".".join(map(str, path))) is not None
    if _OPEN_REFERENCE.search(text):
        yield _problem(document, path, file, "'${env:' is not closed", "write ${env:NAME}")
    for name in REFERENCE.findall(text):
        reason = refused_reason(name)
        if not allowed:
            message = f"${{env:{shown(name)}}} is not read here"
            yield _problem(document, path, file, message, "allowed under tools.with, in MCP urls and headers, base_url")
        elif reason is not None:
            yield _problem(document, path, file, reason, "give the agent a variable of its own")
    if allowed:
        for name in BARE_REFERENCE.findall(text):
            message = f"${{{shown(name)}}} is not read here"
            yield _problem(document, path, file, message, f"write ${{env:{shown(name)}}}")


def _literal_where_a_secret_belongs(path: Path) -> bool:
    inside = "with" in path[2:] or "headers" in path[2:]
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


def _tool_problems(
    document: YamlDocument, definition: AgentDefinition, file: str, known_tools: Collection[str] | None
) -> Iterator[Problem]:
    if known_tools is None:
        return
    for index, tool in enumerate(definition.tools):
        if tool.name is not None and tool.name not in known_tools:
            hint = suggestion(tool.name, sorted(known_tools))
            yield _problem(document, ("tools", index), file, f"no tool '{shown(tool.name)}'", hint)


def _warnings(document: YamlDocument, definition: AgentDefinition, file: str) -> Iterator[Problem]:
    for path, message in not_enforced(definition):
        yield _problem(document, path, file, message, "")
