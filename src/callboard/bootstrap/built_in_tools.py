"""Every tool that an agent file may name, with what the built-in ones are made of."""

from __future__ import annotations

from callboard.agents.tools.chart import ChartTools
from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.http import HttpTools
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
from callboard.bootstrap.toolbox import Toolbox, make_toolbox
from callboard.settings import Settings, text_of


def make_tools(core: Core) -> Toolbox:
    """The built-in tools, and the project's own once its watch has been started."""
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
