"""One agent file from its bytes to a definition, or to everything that is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from callboard.config.definition import AgentDefinition
from callboard.config.loader import YamlDocument, read_yaml
from callboard.config.no_effect import without_effect
from callboard.config.problems import Path, Problem, problems_of, shown
from callboard.config.refusal import suggestion
from callboard.config.script_file import ReadScript, joined, load_script, script_named
from callboard.config.secret_places import problem_at, secret_problems

_CLASHING: Mapping[str, Path] = {
    "name": ("name",),
    "commands": ("slack", "commands"),
    "members": ("collaboration", "members"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFile:
    """What came of reading a file: a definition, or problems. Warnings go with either.

    `source` is the text as it was read, empty where it was none; `name` is what the file calls its agent, if it can
    be told, so that a rejection can be shown with the agent that goes on in its last good version; `places` tells where
    what can clash with other files stands. `script` is the script file it names, such as `scripts/weather.yaml`: then
    digest, source and problems are those of both files, and the definition holds the rules.
    """

    path: str
    digest: str
    source: str
    name: str | None
    definition: AgentDefinition | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    script: str | None = None


def load_agent(
    data: bytes, path: str, *, known_tools: Collection[str] | None = None, read_script: ReadScript | None = None
) -> AgentFile:
    """Reads, validates and checks one file; reports every problem at once, in the order of the lines.

    Without `known_tools` any tool name is accepted. `read_script` gives the script file that the agent file names;
    where it gives none, the definition goes without rules and a warning says so.
    """
    digest = hashlib.sha256(data).hexdigest()
    document = read_yaml(data, path)
    problems = list(document.problems)
    definition: AgentDefinition | None = None
    warnings: list[Problem] = []
    name = value = None
    if document.root is not None:
        value = document.root.plain()
        name = value.get("name") if isinstance(value, dict) else None
        try:
            definition = AgentDefinition.model_validate(value)
        except ValidationError as error:
            problems += problems_of(error, AgentDefinition, path, document.root.locate)
        if definition is not None:
            problems += _tool_problems(document, definition, path, known_tools)
            warnings += _warnings(document, definition, path)
    problems += secret_problems(document, value, path)
    file = AgentFile(
        path=path,
        digest=digest,
        source=document.text,
        name=name if isinstance(name, str) else None,
        definition=None if problems else definition,
        problems=_ordered(problems),
        warnings=tuple(warnings),
        places={key: document.root.locate(path) for key, path in _CLASHING.items()} if document.root else {},
        script=script_named(value),
    )
    return file if file.script is None else _with_script(file, file.script, document, read_script)


def unreadable(path: str, digest: str, problem: Problem) -> AgentFile:
    """A file that cannot or must not be read at all, for the reason given."""
    return AgentFile(path=path, digest=digest, source="", name=None, definition=None, problems=(problem,))


def _with_script(file: AgentFile, name: str, document: YamlDocument, read_script: ReadScript | None) -> AgentFile:
    content = read_script(name) if read_script is not None else None
    place = ("llm_config", "script_file")
    if content is None:
        unchecked = problem_at(document, place, file.path, f"the rules in '{name}' have not been looked at", "")
        return replace(file, warnings=(*file.warnings, unchecked))
    digest = hashlib.sha256(f"{file.digest} {name} {content.digest}".encode()).hexdigest()
    if content.absent:
        message, hint = f"there is no file {content.path}", "write it, or put the rules under script"
        problem = problem_at(document, place, file.path, message, hint)
        return replace(file, digest=digest, definition=None, problems=_ordered([*file.problems, problem]))
    script = load_script(content)
    definition = file.definition
    if definition is not None:
        definition = definition.model_copy(update={"llm_config": definition.llm_config.with_rules(script.rules)})
    return replace(
        file,
        digest=digest,
        source=joined(file.source, name, script.text),
        definition=None if script.problems else definition,
        problems=(*file.problems, *_ordered(script.problems)),
    )


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda problem: (problem.line, problem.column, problem.message)))


def _tool_problems(
    document: YamlDocument, definition: AgentDefinition, file: str, known_tools: Collection[str] | None
) -> Iterator[Problem]:
    if known_tools is None:
        return
    for index, tool in enumerate(definition.tools):
        if tool.name is not None and tool.name not in known_tools:
            hint = suggestion(tool.name, sorted(known_tools))
            yield problem_at(document, ("tools", index), file, f"no tool '{shown(tool.name)}'", hint)


def _warnings(document: YamlDocument, definition: AgentDefinition, file: str) -> Iterator[Problem]:
    for path, message in without_effect(definition):
        yield problem_at(document, path, file, message, "")
