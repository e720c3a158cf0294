"""What an agent file says about one MCP server, secrets filled in: what is connected to, and how far it is trusted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from pydantic import JsonValue

from callboard.config.definition import ToolSettings
from callboard.errors import InvalidInputError

MAX_LABEL_CHARS = 32
_OUTSIDE_LABEL = re.compile(r"[^a-zA-Z0-9-]+")
_LAUNCHERS = frozenset({"npx", "uvx", "uv", "pipx", "node", "bun", "deno", "python", "python3", "docker"})
_LAUNCHER_WORDS = frozenset({"run", "exec", "tool", "x"})


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerSettings:
    """One of `url` and `command` is set. `label` is unique within an agent and begins the names of the server's tools.

    `allow` empty means every tool. `trust_hints` takes the server's word for which of its tools only read.
    `idempotent` says that any call of this server may be repeated without harm.
    """

    label: str
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 30.0
    allow: tuple[str, ...] = ()
    trust_hints: bool = False
    idempotent: bool = False

    @property
    def described(self) -> str:
        """For people and models: the label, and what it stands for without anything that may be secret."""
        if self.url is not None:
            return f"MCP server {self.label!r} ({urlsplit(self.url).hostname or 'a malformed url'})"
        launcher, program = PurePosixPath(self.command[0]).name, _program(self.command)
        return f"MCP server {self.label!r} ({launcher if launcher == program else f'{launcher} {program}'})"

    @property
    def connection_key(self) -> str:
        """Equal for settings that may share one connection; holds no secret in the clear."""
        what = [self.url, sorted(self.headers.items()), list(self.command), sorted(self.env.items())]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def server_settings(
    tool: ToolSettings, resolve: Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]]
) -> McpServerSettings:
    """From an entry of `tools` that names a server; `resolve` fills in secrets.

    Raises what `resolve` raises, and InvalidInputError for an entry that names none.
    """
    server = tool.mcp
    if server is None:
        raise InvalidInputError("this tool names no mcp server", field="tools")
    secret = resolve({"url": server.url, "headers": dict(server.headers), "env": dict(server.env)})
    url = secret.get("url")
    return McpServerSettings(
        label=label_of(server.name, server.url, server.command),
        url=None if url is None else str(url),
        headers=_texts(secret.get("headers")),
        command=server.command,
        env=_texts(secret.get("env")),
        timeout_seconds=tool.timeout_seconds or server.timeout_seconds,
        allow=tool.allow,
        trust_hints=server.trust_hints,
        idempotent=tool.idempotent is True,
    )


def doubled_label(tools: Sequence[ToolSettings]) -> str | None:
    """The label that two of an agent's servers would have; None when each has its own."""
    labels = [label_of(tool.mcp.name, tool.mcp.url, tool.mcp.command) for tool in tools if tool.mcp is not None]
    return next((label for label in labels if labels.count(label) > 1), None)


def unique_labels(servers: tuple[McpServerSettings, ...]) -> None:
    """Raises InvalidInputError where two servers of one agent would give their tools the same names."""
    seen: set[str] = set()
    for server in servers:
        if server.label in seen:
            raise InvalidInputError(
                f"two MCP servers are called {server.label!r}: give each a name, as in {{mcp: {{name: files, …}}}}",
                field="tools.mcp.name",
            )
        seen.add(server.label)


def label_of(name: str | None, url: str | None, command: tuple[str, ...]) -> str:
    """The given name, else one from the host or the program; at most 32 letters, digits, `-` and single `_`."""
    if name:
        text = name
    elif url is not None:
        text = urlsplit(url).hostname or "server"
    else:
        text = _program(command)
    # Runs of other characters become one `_`, and none stays at an end: the first `__` of a tool's name is ours.
    label = _OUTSIDE_LABEL.sub("_", text).strip("_")[:MAX_LABEL_CHARS].rstrip("_")
    return label or "server"


def _program(command: tuple[str, ...]) -> str:
    """What a command runs: for a launcher (npx, uvx, python -m …) its first argument that is no option."""
    first = PurePosixPath(command[0]).name if command else "server"
    if first not in _LAUNCHERS:
        return first
    for argument in command[1:]:
        if not argument.startswith("-") and argument not in _LAUNCHER_WORDS:
            return PurePosixPath(argument).stem or first
    return first


def _texts(value: JsonValue | None) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}
