"""The files of a project's `tools/` as importable modules, in the child process: exactly the texts it was given.

What stands in the folder meanwhile does not matter, so a call runs the code that was described, as a whole.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, ModuleType
from typing import TypedDict


class ModuleText(TypedDict):
    """One file: how messages name it, where it is, and its bytes as Latin-1."""

    path: str
    file: str
    text: str


class ProjectModules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the project's modules, after everything that is installed."""

    def __init__(self, modules: Mapping[str, ModuleText]) -> None:
        self._modules = modules
        self.paths = {module["path"] for module in modules.values()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        module = self._modules.get(fullname)
        return None if module is None else importlib.util.spec_from_file_location(fullname, module["file"], loader=self)

    def is_package(self, fullname: str) -> bool:
        return False

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._bytes(fullname))

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self._bytes(fullname), self._modules[fullname]["path"], "exec", dont_inherit=True)
        return code

    def _bytes(self, fullname: str) -> bytes:
        return self._modules[fullname]["text"].encode("latin-1")

    def needed_by(self, name: str) -> list[str]:
        """The module itself and those of the project that it imports, also within functions, also by detours."""
        needed: list[str] = []
        open_ends = [name]
        while open_ends:
            module = open_ends.pop()
            if module in self._modules and module not in needed:
                needed.append(module)
                open_ends += self._imports(module)
        return sorted(needed)

    def _imports(self, name: str) -> Iterator[str]:
        try:
            tree = ast.parse(self._bytes(name))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
                yield node.module


def taken_elsewhere(name: str) -> bool:
    """Whether a module of this name is part of Python or installed, and would be imported instead."""
    return name in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(name) is not None
