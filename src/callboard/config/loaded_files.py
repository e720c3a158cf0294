"""What stands in the watched folders by now: agent files as they were loaded, with the scripts that they name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from callboard.config.agent_file import AgentFile, load_agent, unreadable
from callboard.config.folder_scan import Look
from callboard.config.problems import Problem
from callboard.config.safe_reading import Content
from callboard.config.script_file import ReadScript
from callboard.config.script_scan import ScriptPlace

OnFault = Callable[[str], None]
"""Told, with the exception at hand, that the loader cannot handle a file."""


@dataclass(frozen=True, slots=True)
class _User:
    """An agent file that names a script: kept as it was read, to be loaded again when the script changes."""

    content: Content
    script: ScriptPlace


@dataclass(slots=True)
class LoadedFiles:
    """Takes in look after look. Not for two threads at once. An agent file whose script has not been read yet waits."""

    known_tools: Collection[str] | None
    on_fault: OnFault
    waiting: set[str] = field(default_factory=set)
    _files: dict[str, AgentFile] = field(default_factory=dict)
    _users: dict[str, _User] = field(default_factory=dict)
    _scripts: dict[str, Content] = field(default_factory=dict)
    _refused: dict[str, Content] = field(default_factory=dict)

    def files(self) -> Collection[AgentFile]:
        """Every file, in its newest settled content."""
        return self._files.values()

    def scripts(self) -> frozenset[ScriptPlace]:
        """The script files that agent files name: those to look at."""
        return frozenset(user.script for user in self._users.values()) if self._users else frozenset()

    def take_in(self, look: Look) -> None:
        """Loads what is new, and what names a script that is new; forgets what is gone."""
        self._scripts.update((content.path, content) for content in look.scripts)
        renewed = {content.path for content in look.scripts}
        again = [user.content for user in self._users.values() if user.script.path in renewed] if renewed else []
        for content in {content.path: content for content in (*again, *look.changed)}.values():
            self._take(content)
        for path in look.gone:
            self._files.pop(path, None)
            self._users.pop(path, None)
            self._refused.pop(path, None)
            self.waiting.discard(path)
        if self._scripts:
            named = {place.path for place in self.scripts()}
            self._scripts = {path: content for path, content in self._scripts.items() if path in named}

    def load_refused(self) -> None:
        """Loads again what is refused: the tools that there are may be others by now."""
        for content in list(self._refused.values()):
            self._take(content)

    def _take(self, content: Content) -> None:
        folder = content.path.rpartition("/")[0]
        file = self._load(content, lambda name: self._scripts.get(f"{folder}/{name}"))
        self._users.pop(content.path, None)
        self._refused.pop(content.path, None)
        if file.problems:
            self._refused[content.path] = content
        self.waiting.discard(content.path)
        if file.script is not None:
            script = ScriptPlace(folder, file.script)
            self._users[content.path] = _User(content, script)
            if script.path not in self._scripts:
                self.waiting.add(content.path)
                return
        self._files[content.path] = file

    def _load(self, content: Content, read_script: ReadScript) -> AgentFile:
        if content.problem is not None:
            return unreadable(content.path, content.digest, content.problem)
        try:
            return load_agent(content.data, content.path, known_tools=self.known_tools, read_script=read_script)
        except Exception:  # noqa: BLE001  # whatever a file holds, the others' files must go on being read
            self.on_fault(content.path)
            problem = Problem(
                file=content.path,
                line=1,
                column=1,
                message="the loader cannot handle this file",
                hint="the reason is in the log of the configuration service",
            )
            return unreadable(content.path, content.digest, problem)
