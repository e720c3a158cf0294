"""What agents are made of: models, tools, secrets; and the registry that says which of them can work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from callboard.agents.engine import Engine
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.execution_agent import AgentWorkshop
from callboard.agents.performer import Performer
from callboard.agents.tools.mcp.agent_servers import AgentServersMaker
from callboard.agents.tools.mcp.servers import McpServers
from callboard.agents.tools.mcp.tool_source import McpToolSource
from callboard.bootstrap.built_in_tools import make_tools
from callboard.bootstrap.core import Core
from callboard.bootstrap.mcp_servers import make_mcp_servers
from callboard.bootstrap.models import make_factory, make_prices
from callboard.bootstrap.protection import make_protection
from callboard.bootstrap.secrets import learn_secrets, secrets_from
from callboard.bootstrap.toolbox import Toolbox
from callboard.config.models_watch import ModelsWatch
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.llm.protected_models import ProtectedModels
from callboard.logs import Redactor
from callboard.orchestrator.availability import AvailabilityReport
from callboard.orchestrator.kept_judgement import KeptJudgement
from callboard.orchestrator.registry import AgentRegistry
from callboard.settings import dotenv_values


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
    """`redactor` is that of the logs: it learns each secret that a definition refers to.

    A role that only knows of agents has no keys of their models: it believes what the pools report of them.
    """
    environment = {**dotenv_values(), **os.environ}
    heard = learn_secrets(core, redactor, environment)
    toolbox = make_tools(core)
    mcp = make_mcp_servers(core.settings, environment, core.clock)
    models = ModelsWatch(core.settings.models_file, core.clock) if runs_agents else None
    prices, observe = make_prices(models), core.metrics.llm_call if runs_agents else None
    providers = make_factory(core.settings, environment, core.clock, prices=prices, judges=runs_agents, observe=observe)
    agents = AgentWorkshop(
        providers=providers,
        tools=toolbox.registry,
        judges_tools=runs_agents,
        engine=engine or ToolLoopEngine(),
        resolve_secrets=secrets_from(environment),
        servers=AgentServersMaker(McpToolSource(mcp, core.mcp_tools), secrets_from(environment)),
        clock=core.clock,
        make_model=ProtectedModels(providers, make_protection(core, models, breaker), core.clock).make,
        redact=heard.redact,
    )
    return Workshop(
        redactor=heard,
        toolbox=toolbox,
        agents=agents,
        mcp=mcp,
        models=models,
        registry=_registry(core, agents, believes_reports=not runs_agents),
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


def _registry(core: Core, agents: AgentWorkshop, *, believes_reports: bool) -> AgentRegistry:
    judgement = KeptJudgement(agents.why_unavailable, core.clock)
    return AgentRegistry(
        core.catalog.current,
        core.agent_health,
        judgement.why_unavailable,
        core.clock,
        believes_reports=believes_reports,
    )
