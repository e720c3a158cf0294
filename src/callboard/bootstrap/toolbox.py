"""The tools that agent files may name: those that are built in, and the project's own as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from callboard.agents.engines.artifact_reading import READ_ARTIFACT
from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.project.shelf import ProjectTools
from callboard.agents.tools.project.watch import ProjectToolsWatch
from callboard.agents.tools.registry import ToolFactory, ToolRegistry
from callboard.agents.tools.run_agent import RUN_AGENT
from callboard.agents.tools.send_email import SendEmail
from callboard.agents.tools.web_search import WebSearch
from callboard.clock import Clock
from callboard.config.tool_listing import ListedTool, ToolListing
from callboard.errors import InvalidInputError
from callboard.llm.ask_human import ASK_HUMAN
from callboard.settings import Settings

MAX_CALLS = 16
"""Calls of project code at the same time in one process; further ones wait, those of built-in tools do not."""
_MAX_DESCRIBING = 4
_ABOUT = {
    RUN_AGENT: "Hand a task to another agent and wait for its answer.",
    "send_email": SendEmail.description,
    "sql_query": "Ask a database with one SELECT statement; nothing can be changed.",
    "web_search": WebSearch.description,
}
"""Of the tools that cannot be made without options or settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """`project` has no tools before `watch` has been started: a role that does not use any leaves it."""

    registry: ToolRegistry
    project: ProjectTools
    watch: ProjectToolsWatch
    built_in: Mapping[str, ToolFactory]

    def listing(self) -> ToolListing:
        """All of them, as people are shown them."""
        listed = [*(_listed(name, make) for name, make in self.built_in.items()), *self.project.listed()]
        return ToolListing(
            tools=tuple(sorted(listed, key=lambda tool: tool.name)), problems=tuple(self.project.problems())
        )


def make_toolbox(settings: Settings, built_in: Mapping[str, ToolFactory], clock: Clock) -> Toolbox:
    """The project's files are not looked at yet."""
    project = ProjectTools(ChildRunner(max_children=MAX_CALLS), {*built_in, ASK_HUMAN, READ_ARTIFACT})
    return Toolbox(
        registry=ToolRegistry(built_in, project),
        project=project,
        # Descriptions have places of their own: calls that take all of theirs hold up no new version.
        watch=ProjectToolsWatch(settings.tools_folder, project, ChildRunner(max_children=_MAX_DESCRIBING), clock),
        built_in=built_in,
    )


def _listed(name: str, make: ToolFactory) -> ListedTool:
    try:
        tool = make({})
    except InvalidInputError as error:
        return ListedTool(name=name, description=_ABOUT.get(name, ""), needs=error.message)
    return ListedTool(
        name=name,
        description=tool.description,
        parameters=tool.parameters,
        idempotent=tool.idempotent,
        timeout_seconds=tool.timeout_seconds,
        reads_untrusted=tool.traits.reads_untrusted,
        sends_out=tool.traits.sends_out,
    )
