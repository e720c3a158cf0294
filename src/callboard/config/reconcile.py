"""From what stands in the files to what is to change in the catalog: pure, whatever order the files came in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from callboard.config.agent_file import AgentFile
from callboard.config.catalog import Catalog
from callboard.config.definition import AgentDefinition
from callboard.config.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A file whose content does not come into force; `name` is the agent that it would have changed."""

    file: AgentFile
    name: str | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What differs from the catalog: files to put in force, names to remove; and every file that is refused."""

    puts: tuple[AgentFile, ...]
    removes: tuple[str, ...]
    refused: tuple[Refused, ...]


def reconcile(files: Iterable[AgentFile], catalog: Catalog, unread: Collection[str] = ()) -> Decision:
    """Decides over all files at once.

    Of two files with one name the first by path holds. A broken or refused file keeps the name it has in the
    catalog, so that its last good version goes on. A new or changed file is refused where it takes a slash command
    that another agent owns, or closes a circle of members; what is in force already stays. Paths in `unread` exist
    and nobody has read them yet: what they have in force stays too.
    """
    state = _State(catalog, {entry.path: entry.name for entry in catalog.agents.values()}, unread)
    ordered = sorted(files, key=lambda file: file.path)
    state.assign_names(ordered)
    state.refuse_second_owners()
    state.refuse_circles()
    puts = tuple(state.changed[name] for name in sorted(state.changed))
    kept = state.kept()
    return Decision(
        puts=puts,
        removes=tuple(sorted(name for name in catalog.agents if name not in kept)),
        refused=tuple(state.refused[path] for path in sorted(state.refused)),
    )


@dataclass(slots=True)
class _State:
    catalog: Catalog
    incumbents: Mapping[str, str]
    unread: Collection[str]
    owners: dict[str, str] = field(default_factory=dict)
    changed: dict[str, AgentFile] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)

    def assign_names(self, ordered: list[AgentFile]) -> None:
        spelled: dict[str, str] = {}
        for file in ordered:
            first = spelled.setdefault(file.path.lower(), file.path)
            name = file.definition.name if file.definition else self.incumbents.get(file.path)
            if file.definition is None:
                self._refuse(file, file.problems)
                if name is not None:
                    self.owners.setdefault(name, file.path)
            elif first != file.path:
                self._refuse(
                    file, [_at(file, "name", f"differs from {first} only in upper and lower case", "rename it")]
                )
            elif name in self.owners:
                holder = self.owners[name]
                self._refuse(
                    file, [_at(file, "name", f"the name '{name}' belongs to {holder}", "give it another name")]
                )
            elif name is not None:
                self.owners[name] = file.path
                if self._is_new(name, file):
                    self.changed[name] = file

    def _is_new(self, name: str, file: AgentFile) -> bool:
        entry = self.catalog.get(name)
        return entry is None or entry.latest_digest != file.digest or entry.path != file.path

    def refuse_second_owners(self) -> None:
        """Who has a command in force keeps it; among new files the first by path gets it."""
        while True:
            commands: dict[str, str] = {}
            for name, definition in self._in_force().items():
                if name not in self.changed:
                    commands.update(dict.fromkeys(definition.slack.commands, name))
            lost: list[tuple[str, str, str]] = []
            for name, file in sorted(self.changed.items(), key=lambda item: item[1].path):
                wanted = file.definition.slack.commands if file.definition else ()
                taken = next((command for command in wanted if commands.get(command, name) != name), None)
                if taken is None:
                    commands.update(dict.fromkeys(wanted, name))
                else:
                    lost.append((name, taken, commands[taken]))
            if not lost:
                return
            for name, command, owner in lost:
                file = self.changed.pop(name)
                self._refuse(
                    file, [_at(file, "commands", f"{command} belongs to agent '{owner}'", "choose another command")]
                )

    def refuse_circles(self) -> None:
        """The last by path of the changed files in a circle gives way."""
        for name, file in sorted(self.changed.items(), key=lambda item: item[1].path, reverse=True):
            circle = _circle(name, self._in_force())
            if circle:
                del self.changed[name]
                message = "members in a circle: " + " → ".join(circle)
                self._refuse(file, [_at(file, "members", message, f"take '{circle[1]}' out of collaboration.members")])

    def _in_force(self) -> dict[str, AgentDefinition]:
        """The definitions as they would be if no more were refused."""
        kept = self.kept()
        definitions = {name: self.catalog.agents[name].definition for name in self.catalog.agents if name in kept}
        definitions.update({name: file.definition for name, file in self.changed.items() if file.definition})
        return definitions

    def kept(self) -> set[str]:
        """The names that go on: those that files hold, and the last good versions behind files refused or unread."""
        paths = (*self.refused, *self.unread)
        return {*self.owners, *(self.incumbents[path] for path in paths if path in self.incumbents)}

    def _refuse(self, file: AgentFile, problems: Iterable[Problem]) -> None:
        name = self.incumbents.get(file.path) or (file.definition.name if file.definition else file.name)
        self.refused[file.path] = Refused(file=file, name=name, problems=tuple(problems))


def _at(file: AgentFile, key: str, message: str, hint: str) -> Problem:
    line, column = file.places.get(key, (1, 1))
    return Problem(file=file.path, line=line, column=column, message=message, hint=hint)


def _circle(start: str, definitions: Mapping[str, AgentDefinition]) -> list[str]:
    """The way from an agent over members back to itself; empty where there is none."""
    way: dict[str, str] = {}
    open_ends = [start]
    while open_ends:
        name = open_ends.pop()
        definition = definitions.get(name)
        for member in definition.collaboration.members if definition else ():
            if member == start:
                circle = [start, name]
                while circle[-1] != start:
                    circle.append(way[circle[-1]])
                return circle[::-1]
            if member not in way:
                way[member] = name
                open_ends.append(member)
    return []
