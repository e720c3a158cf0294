"""One agent, ready to work: its definition with the model, tools and engine that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
from pydantic import JsonValue

from callboard.agents.engine import Answer, Engine, HandedResult, Journal, OnText, Outcome, Usage, Work, WorkLimits
from callboard.agents.engines.context_window import window_of
from callboard.agents.engines.human_question import question_rules
from callboard.agents.memory_scope import memory_scope
from callboard.agents.model_config import model_config
from callboard.agents.recording import Recording
from callboard.agents.rehearsal import RehearsingEngine
from callboard.agents.tools.mcp.agent_servers import AgentServers, AgentServersMaker
from callboard.agents.tools.mcp.server_settings import doubled_label
from callboard.agents.tools.registry import ToolBinding, ToolRegistry
from callboard.agents.tools.tool import Artifacts, NoArtifacts, ToolSet
from callboard.clock import Clock
from callboard.config.catalog import CatalogEntry
from callboard.config.definition import AgentDefinition, QuestionSettings
from callboard.errors import CallboardError
from callboard.llm.provider import LLMConfig, LLMProvider, Message
from callboard.llm.provider_factory import LLMProviderFactory
from callboard.state.runs import Run

ResolveSecrets = Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]]
"""Fills `${env:NAME}` in a tool's settings at the moment they are used."""


MakeModel = Callable[[LLMConfig], LLMProvider]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What an agent works on: one claimed run with everything that is known of it. `given` is the input as it came."""

    run: Run
    input: str
    given: JsonValue = None
    journal: Journal
    answers: Mapping[str, Answer]
    deadline: float
    history: tuple[Message, ...] = ()
    turn: int = 1
    handed: Mapping[str, HandedResult] = field(default_factory=dict)
    ended_children: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    tainted: bool = False
    artifacts: Artifacts = field(default_factory=NoArtifacts)
    on_text: OnText | None = None
    recording: Recording = field(default_factory=Recording)


class ExecutionAgent:
    """Executes assignments of one version of one agent, any number at once."""

    def __init__(
        self,
        definition: AgentDefinition,
        *,
        config: LLMConfig,
        provider: LLMProvider,
        tools: ToolSet,
        engine: Engine,
        clock: Clock,
        servers: AgentServers | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.definition = definition
        self.provider = provider
        self._config = config
        self._tools = tools
        self._servers = servers
        self._engine = engine
        self._clock = clock
        self.redact = redact
        models = (definition.llm_config, *definition.llm_config.fallback)
        self.window = min(model.context_window or window_of(model.model_id) for model in models)
        # A form is of use only when it is whole, and what a script says comes all at once.
        self._speaks = definition.output_schema is None and config.provider != "scripted"
        asked = definition.questions
        self._questions = None if asked == QuestionSettings() else question_rules(asked)

    async def execute(self, assignment: Assignment) -> Outcome:
        # Every time anew: what the servers of others offer may have changed since the run's last execution.
        tools = self._tools if self._servers is None else await self._servers.join(self._tools)
        run, limits = assignment.run, self.definition.limits
        engine = RehearsingEngine(self._engine, assignment.recording) if run.dry else self._engine
        return await engine.execute(
            Work(
                run_id=run.run_id,
                attempt=run.attempt,
                agent=self.definition.name,
                instructions=self.definition.instructions,
                config=self._config,
                provider=self.provider,
                tools=tools,
                input=assignment.input,
                journal=assignment.journal,
                clock=self._clock,
                history=assignment.history,
                turn=assignment.turn,
                step=run.step_id or "",
                deadline=assignment.deadline,
                limits=WorkLimits(
                    max_tool_calls=limits.max_tool_calls,
                    max_model_calls=limits.max_model_calls,
                    max_tokens=limits.max_tokens,
                ),
                answers=assignment.answers,
                handed=assignment.handed,
                artifacts=assignment.artifacts,
                used=Usage(input_tokens=run.usage.input_tokens, output_tokens=run.usage.output_tokens),
                tainted=assignment.tainted,
                output_schema=self.definition.output_schema,
                questions=self._questions,
                agents=assignment.agents,
                depth=run.depth,
                tenant=run.tenant,
                root_run_id=run.root,
                conversation_id=run.conversation_id,
                memory_scope=memory_scope(self.definition, run),
                actor=run.actor,
                reply_to=run.reply_to,
                redact=self.redact,
                on_text=assignment.on_text if self._speaks else None,
                window=self.window,
            )
        )

    async def close(self) -> None:
        await self.provider.close()


class AgentWorkshop:
    """Makes execution agents from catalog entries."""

    def __init__(
        self,
        *,
        providers: LLMProviderFactory,
        tools: ToolRegistry,
        engine: Engine,
        resolve_secrets: ResolveSecrets,
        clock: Clock,
        make_model: MakeModel | None = None,
        servers: AgentServersMaker | None = None,
        redact: Callable[[str], str] = str,
        judges_tools: bool = True,
    ) -> None:
        """`make_model` makes what an agent asks, with its protection; without it that is the bare provider. `redact`
        takes secrets out of what tools and models say. A process that does not `judges_tools` cannot know which of the
        project's own there are."""
        self._providers = providers
        self._make_model = make_model or providers.create_provider
        self._tools = tools
        self._servers = servers
        self._engine = engine
        self._resolve_secrets = resolve_secrets
        self._clock = clock
        self._redact = redact
        self._judges_tools = judges_tools

    def make(self, entry: CatalogEntry) -> ExecutionAgent:
        """Raises UnavailableError (no such model here) or InvalidInputError (a tool or a secret is missing)."""
        config = model_config(entry.definition.llm_config)
        return ExecutionAgent(
            entry.definition,
            config=config,
            provider=self._make_model(config),
            tools=self._tools_of(entry.definition),
            engine=self._engine,
            clock=self._clock,
            servers=self._servers_of(entry.definition),
            redact=self._redact,
        )

    def why_unavailable(self, definition: AgentDefinition) -> str | None:
        """The reason for people why the agent cannot work here, None when it can."""
        model = definition.llm_config
        reasons = [
            self._providers.why_unavailable(each.provider.value, base_url=each.base_url)
            for each in (model, *model.fallback)
        ]
        if all(reason is not None for reason in reasons):
            return reasons[0]
        known = self._tools.names()
        unknown = [tool.name for tool in definition.tools if tool.name and tool.name not in known]
        if unknown and self._judges_tools:
            return f"tool {unknown[0]!r} is not known; known are: {', '.join(known)}"
        doubled = doubled_label(definition.tools)
        if doubled is not None:
            return f"two of its MCP servers are called {doubled!r}: give each a name, as in mcp: {{name: files, …}}"
        return self._why_no_tools(definition) if self._judges_tools else None

    def _why_no_tools(self, definition: AgentDefinition) -> str | None:
        """What an option or a secret of its tools lacks, and what its servers may not do here: better told now than by
        its first run."""
        try:
            self._tools_of(definition)
            servers = self._servers_of(definition)
        except CallboardError as error:
            return error.message
        return None if servers is None else servers.why_unavailable()

    def _servers_of(self, definition: AgentDefinition) -> AgentServers | None:
        if self._servers is None or all(tool.mcp is None for tool in definition.tools):
            return None
        return self._servers.make(definition.name, definition.tools)

    def _tools_of(self, definition: AgentDefinition) -> ToolSet:
        return self._tools.build(
            [
                ToolBinding(name=tool.name, options=self._resolve_secrets(tool.with_), settings=tool)
                for tool in definition.tools
                if tool.name is not None
            ]
        )


def input_text(value: object) -> str:
    """A run's input as the model reads it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
