"""What an agent file says in vain: it is valid, and a warning in the listings tells."""

from __future__ import annotations

from collections.abc import Iterator

from callboard.config.definition import AgentDefinition, ExecutionMode
from callboard.config.llm_settings import Provider
from callboard.config.problems import Path


def without_effect(definition: AgentDefinition) -> Iterator[tuple[Path, str]]:
    """(path, warning) for each."""
    if definition.mode is ExecutionMode.COLLABORATIVE and not definition.collaboration.members:
        yield ("execution_mode",), "a collaborative agent without collaboration.members has nobody to work with"
    if definition.mode is not ExecutionMode.COLLABORATIVE and definition.collaboration.members:
        yield ("collaboration",), f"collaboration has no effect in execution_mode {definition.execution_mode}"
    llm = definition.llm_config
    for key, said in (("script_file", llm.script_file is not None), ("script", bool(llm.script))):
        if said and llm.provider is not Provider.SCRIPTED:
            # Valid, so that an agent can be tried by rules, with a real model, and by rules again.
            yield ("llm_config", key), f"{key} has no effect with provider {llm.provider}: its rules are not used"
