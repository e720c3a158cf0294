"""The file that `llm_config.script_file` names: the rules of the scripted model, apart from the agent file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from callboard.config.llm_settings import ScriptRule, ScriptRules, script_path_problem
from callboard.config.loader import Advice, read_yaml
from callboard.config.problems import Problem, problems_of
from callboard.config.safe_reading import Content
from callboard.config.secret_places import secret_problems

ReadScript = Callable[[str], Content | None]
"""From `scripts/weather.yaml` to what stands there; None where that is not known (yet)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What came of a script file: rules, or problems with their places in it."""

    text: str
    rules: tuple[ScriptRule, ...]
    problems: tuple[Problem, ...]


def script_named(value: object) -> str | None:
    """The script file that an agent file's plain content names, where its path is one that may be looked at."""
    llm_config = value.get("llm_config") if isinstance(value, dict) else None
    path = llm_config.get("script_file") if isinstance(llm_config, dict) else None
    return path if isinstance(path, str) and script_path_problem(path) is None else None


def load_script(content: Content) -> Script:
    """Reads the rules under the limits and YAML rules of agent files; never raises for any content."""
    if content.problem is not None:
        return Script(text="", rules=(), problems=(content.problem,))
    document = read_yaml(
        content.data,
        content.path,
        Advice(empty='write a list of rules, such as - {say: "…"}', second_document="one list of rules a file"),
    )
    problems = list(document.problems)
    rules: tuple[ScriptRule, ...] = ()
    value = document.root.plain() if document.root is not None else None
    if document.root is not None:
        try:
            rules = ScriptRules.model_validate(value).root
        except ValidationError as error:
            problems += problems_of(error, ScriptRule, content.path, document.root.locate)
    problems += secret_problems(document, value, content.path)
    return Script(text=document.text, rules=() if problems else rules, problems=tuple(problems))


def joined(source: str, path: str, script: str) -> str:
    """Both texts as one, for histories and differences: two YAML documents, the second headed by its path."""
    return f"{source.rstrip()}\n--- # {path}\n{script}"
