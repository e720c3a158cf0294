"""The text of a new agent file: complete, valid, offline, and short enough to be read."""

from __future__ import annotations

import re

from callboard.config.definition import AGENT_NAME, ExecutionMode
from callboard.errors import InvalidInputError

_HEAD = """\
# yaml-language-server: $schema={schema}
name: {name}
description: {description}
agent_type: {agent_type}
execution_mode: {mode}
llm_config:
  provider: scripted          # answers by rules, without account or network; or anthropic, openai, bedrock, ollama
  model_id: script
  script:
{script}
"""

_AUTONOMOUS = """\
slack:
  commands: [/{command}]
instructions: |
  You answer briefly.
"""
_CONTINUOUS = """\
conversation: thread          # what the memory belongs to: agent, thread or user
slack:
  mentions: true
instructions: |
  You remember what was said before.
"""
_SCHEDULED = """\
schedules:
  - {cron: "0 9 * * MON-FRI", timezone: UTC, input: "the morning"}
"""
_COLLABORATIVE = """\
collaboration:
  members: [{member}]         # names of other agents
  plan:                       # without it the planner makes one
    - {id: first, agent: {member}, input: "${input}"}
"""

_TEXTS = {
    ExecutionMode.AUTONOMOUS: (
        "Answers one request at a time, each on its own",
        "assistant",
        '    - {when: hello, say: "Hello from {name}."}\n    - {say: "You said: {input}"}',
        _AUTONOMOUS,
    ),
    ExecutionMode.CONTINUOUS: (
        "Remembers its conversation",
        "assistant",
        '    - {say: "Message {turn}: {input}"}',
        _CONTINUOUS,
    ),
    ExecutionMode.SCHEDULED: ("Runs by the clock", "reporter", '    - {say: "Report: {input}"}', _SCHEDULED),
    ExecutionMode.COLLABORATIVE: (
        "Has other agents work on a request, step by step",
        "coordinator",
        '    - {say: "{input}"}',
        _COLLABORATIVE,
    ),
}
"""mode → (description, agent_type, rules, the rest)"""


def agent_template(
    name: str, mode: ExecutionMode, *, member: str = "other-agent", schema: str = "../agent.schema.json"
) -> str:
    """The file for `callboard agents new NAME --mode MODE`; InvalidInputError for a name that no agent may have."""
    if not re.fullmatch(AGENT_NAME, name):
        raise InvalidInputError(
            f"'{name[:80]}' cannot be an agent's name: a-z, 0-9, _ and -, beginning with a letter or digit, at most 64",
            field="name",
        )
    description, agent_type, script, tail = _TEXTS[mode]
    head = (
        _HEAD.replace("{schema}", schema)
        .replace("{description}", description)
        .replace("{agent_type}", agent_type)
        .replace("{mode}", mode)
        .replace("{script}", script)
        .replace("{name}", name)
    )
    return head + tail.replace("{command}", name[:31]).replace("{member}", member)
