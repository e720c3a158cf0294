"""Which commands of agent files may be started: only what the operator of this process has listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from callboard.agents.tools.mcp.session import FaultKind, McpFault

COMMANDS_VARIABLE = "CALLBOARD_MCP_COMMANDS"
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ")
"""What a server needs to start at all; no other variable of ours reaches it, and no home folder with its keys."""


class CommandPolicy:
    """`allowed` holds program names (`npx`), paths, or `*`. A name allows what the search path finds under it only."""

    def __init__(self, allowed: frozenset[str], environment: Mapping[str, str] | None = None) -> None:
        self._allowed = allowed
        self._environment = os.environ if environment is None else environment

    def program(self, command: str) -> str:
        """The path to start for the first word of a command; raises McpFault saying what to set."""
        if command not in self._allowed and "*" not in self._allowed:
            raise McpFault(
                f"cannot be started: {command!r} is not among the commands allowed on this machine; the operator "
                f"allows it with {COMMANDS_VARIABLE}={command}",
                FaultKind.UNSENT,
            )
        found = shutil.which(command, path=self._environment.get("PATH"))
        if found is None:
            raise McpFault(
                f"cannot be started: there is no program {command!r} on this machine; install it, or write its path",
                FaultKind.UNSENT,
            )
        return found

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The variables of a server: those of the agent file, and what any program needs."""
        kept = {name: self._environment[name] for name in _KEPT_VARIABLES if name in self._environment}
        return {**kept, **given}
