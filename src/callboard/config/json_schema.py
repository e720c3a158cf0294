"""The JSON Schema of the agent file, for editors; made from the records, so it cannot say anything else."""

from __future__ import annotations

import json
from typing import Any

from callboard.config.definition import AgentDefinition

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def agent_schema() -> dict[str, Any]:
    """What `callboard schema agent` prints. Rules between keys and files are checked only when a file is loaded."""
    schema = AgentDefinition.model_json_schema(by_alias=True)
    tool = schema["$defs"]["ToolSettings"]
    schema["$defs"]["ToolSettings"] = {
        "anyOf": [{"type": "string", "minLength": 1, "description": "A tool by its name."}, tool]
    }
    return {
        "$schema": DIALECT,
        **schema,
        "title": "Callboard agent",
        "description": "One agent: config/agents/*.yaml, one file each.",
    }


def agent_schema_text() -> str:
    """The content of `config/agent.schema.json`."""
    return json.dumps(agent_schema(), indent=2, ensure_ascii=False) + "\n"
