"""What agents are made of: models, tools, secrets; and the registry that says which of them can work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from callboard.agents.engine import Engine
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.execution_agent import AgentWorkshop, ResolveSecrets
from callboard.agents.performer import Performer
from callboard.agents.tools.chart import ChartTools
from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.http import HttpTools
from callboard.agents.tools.mcp.agent_servers import AgentServersMaker
from callboard.agents.tools.mcp.servers import McpServers
from callboard.agents.tools.mcp.tool_source import McpToolSource
from callboard.agents.tools.recall import recall_factory
from callboard.agents.tools.remember import remember_factory
from callboard.agents.tools.resolver import SystemResolver
from callboard.agents.tools.run_agent import RUN_AGENT_FACTORY
from callboard.agents.tools.run_python import PythonTools
from callboard.agents.tools.send_email import MailServer, MailTools, mail_server
from callboard.agents.tools.slack_post import SlackPostTools
from callboard.agents.tools.sql_query import SqlTools
from callboard.agents.tools.web_search import MAX_ANSWER_BYTES, WebSearchTools
from callboard.bootstrap.core import Core
from callboard.bootstrap.mcp_servers import make_mcp_servers
from callboard.bootstrap.models import make_factory, make_prices
from callboard.bootstrap.protection import make_protection, rate_limits
from callboard.bootstrap.toolbox import Toolbox, make_toolbox
from callboard.config.catalog import Catalog
from callboard.config.models_watch import ModelsWatch
from callboard.config.secrets import is_telling, known_secrets, references, resolve_tree
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.llm.protected_models import ProtectedModels
from callboard.logs import Redactor
from callboard.orchestrator.availability import AvailabilityReport
from callboard.orchestrator.kept_judgement import KeptJudgement
from callboard.orchestrator.registry import AgentRegistry
from callboard.settings import Settings, dotenv_values, secret_values, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What agents are made of, and who of them is there; `redactor` knows the secrets that no answer may hold."""

    redactor: Redactor
    toolbox: Toolbox
    agents: AgentWorkshop
    mcp: McpServers
    registry: AgentRegistry
    models: ModelsWatch | None


def make_workshop(
    core: Core,
    redactor: Redactor,
    engine: Engine | None = None,
    *,
    runs_agents: bool = True,
    breaker: BreakerSettings | None = None,
) -> Workshop:
    """From now on the redactor learns each secret that a definition refers to.

    A role that only knows of agents has no keys of their models: it believes what the pools report of them.
    """
    environment = {**dotenv_values(), **os.environ}
    core.catalog.subscribe(_learn_secrets(redactor, environment))
    # What agent files refer to may be a common word: only logs are kept free of all of that.
    heard = Redactor((*known_secrets(environment), *secret_values(core.settings)))
    core.catalog.subscribe(_learn_secrets(heard, environment, only=is_telling))
    clock = core.clock
    toolbox = make_tools(core)
    resolve_secrets = _resolver(environment)
    mcp = make_mcp_servers(core.settings, environment, clock)
    models = ModelsWatch(core.settings.models_file, clock) if runs_agents else None
    observe = core.metrics.llm_call if runs_agents else None
    prices = make_prices(models)
    providers = make_factory(core.settings, environment, clock, prices=prices, judges=runs_agents, observe=observe)
    protection = make_protection(core, breaker)
    if models is not None:
        models.subscribe(lambda file: protection.set_limits(rate_limits(file)))
    agents = AgentWorkshop(
        providers=providers,
        tools=toolbox.registry,
        judges_tools=runs_agents,
        engine=engine or ToolLoopEngine(),
        resolve_secrets=resolve_secrets,
        servers=AgentServersMaker(McpToolSource(mcp, core.mcp_tools), resolve_secrets),
        clock=clock,
        make_model=ProtectedModels(providers, protection, clock).make,
        redact=heard.redact,
    )
    return Workshop(
        redactor=heard,
        toolbox=toolbox,
        agents=agents,
        mcp=mcp,
        models=models,
        registry=AgentRegistry(
            core.catalog.current,
            core.agent_health,
            KeptJudgement(agents.why_unavailable, clock).why_unavailable,
            clock,
            believes_reports=not runs_agents,
        ),
    )


def make_availability(core: Core, workshop: Workshop, performers: Sequence[Performer]) -> AvailabilityReport:
    """What this process says of the agents that it executes."""
    report = AvailabilityReport(
        core.catalog.current,
        workshop.agents.why_unavailable,
        core.agent_health,
        core.clock,
        [performer.mode for performer in performers],
        core.process_id,
    )
    core.catalog.subscribe(report.catalog_changed)
    workshop.toolbox.project.subscribe(report.look_again)
    return report


def make_tools(core: Core) -> Toolbox:
    """Every tool that an agent file may name."""
    settings = core.settings
    permitted = frozenset(settings.http_allow)
    http = HttpTools(SystemResolver(), permitted=permitted)
    runner = ChildRunner()
    return make_toolbox(
        settings,
        {
            **RUN_AGENT_FACTORY,
            **http.factories(),
            **SqlTools(runner).factories(),
            **PythonTools(runner).factories(),
            **ChartTools(runner).factories(),
            **WebSearchTools(http.client(max_bytes=MAX_ANSWER_BYTES), permitted=permitted).factories(),
            **MailTools(_mail_server(settings)).factories(),
            **SlackPostTools(core.deliveries).factories(),
            **remember_factory(core.memory),
            **recall_factory(core.memory),
        },
        core.clock,
    )


def _mail_server(settings: Settings) -> MailServer | None:
    url, sender = text_of(settings.smtp_url), settings.smtp_from
    return None if url is None or sender is None else mail_server(url, sender)


def _resolver(environment: Mapping[str, str]) -> ResolveSecrets:
    def resolve(options: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        resolved = resolve_tree(options, environment)
        assert isinstance(resolved, dict)  # noqa: S101  # a mapping stays one
        return resolved

    return resolve


def _learn_secrets(
    redactor: Redactor, environment: Mapping[str, str], *, only: Callable[[str], bool] = bool
) -> Callable[[Catalog], None]:
    """What agent files refer to must not be seen from then on."""

    def learn(catalog: Catalog) -> None:
        names = {name for entry in catalog for tool in entry.definition.tools for name in references(tool.model_dump())}
        redactor.add(*(value for value in known_secrets(environment, frozenset(names)) if only(value)))

    return learn
