"""Agent files checked as config-service would check them, without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from callboard.config.agent_file import AgentFile, load_agent
from callboard.config.catalog import Catalog
from callboard.config.problems import Problem
from callboard.config.reconcile import reconcile
from callboard.config.safe_reading import Content, is_meant, read_file, read_script
from callboard.config.tool_names import BUILT_IN_TOOLS, written_tools
from callboard.errors import NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One file and what is wrong with it, by itself or beside the others."""

    path: str
    file: AgentFile | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def name(self) -> str | None:
        return None if self.file is None else self.file.name

    def to_record(self) -> dict[str, Any]:
        return {
            "file": self.path,
            "name": self.name,
            "valid": not self.problems,
            "problems": [problem.to_record() for problem in self.problems],
            "warnings": [warning.to_record() for warning in self.warnings],
        }


def check_files(paths: Sequence[Path], tools_folder: Path | None = None) -> list[Checked]:
    """Each file, and each in a folder; NotFoundError for a path that does not exist or a folder without agents.

    Without the folder of the project's own tools any tool's name is accepted.
    """
    tools = None if tools_folder is None else BUILT_IN_TOOLS | written_tools(tools_folder)
    checked: dict[str, Checked] = {}
    for path in paths:
        for file in _files(path):
            content = read_file(file.parent, file.name, str(file))
            if content.problem is not None:
                checked[str(file)] = Checked(path=str(file), file=None, problems=(content.problem,), warnings=())
                continue
            loaded = load_agent(content.data, str(file), known_tools=tools, read_script=partial(_script, file.parent))
            checked[str(file)] = Checked(
                path=str(file), file=loaded, problems=loaded.problems, warnings=loaded.warnings
            )
    together = [each.file for each in checked.values() if each.file is not None]
    for refused in reconcile(together, Catalog(number=0)).refused:
        alone = checked[refused.file.path]
        problems = tuple(dict.fromkeys((*alone.problems, *refused.problems)))
        checked[refused.file.path] = Checked(
            path=alone.path, file=alone.file, problems=problems, warnings=alone.warnings
        )
    return list(checked.values())


def _script(folder: Path, name: str) -> Content:
    return read_script(folder, name, str(folder / name))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if is_meant(file.name))
        if not found:
            raise NotFoundError(f"there is no agent file in {path}: `callboard agents new NAME` writes one")
        yield from found
    elif path.exists():
        yield path
    else:
        raise NotFoundError(f"there is no file {path}")
