"""What ships as files is valid, current and works offline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from callboard.config.agent_file import load_agent
from callboard.config.definition import AgentDefinition, ExecutionMode, Provider
from callboard.config.json_schema import agent_schema, agent_schema_text
from callboard.config.safe_reading import read_script
from callboard.config.script_file import script_named
from callboard.config.template import agent_template
from callboard.errors import InvalidInputError

CONFIG = Path(__file__).parents[3] / "config"


def samples() -> dict[str, AgentDefinition]:
    folder = CONFIG / "agents"
    loaded = [
        load_agent(path.read_bytes(), path.name, read_script=lambda name: read_script(folder, name, name))
        for path in sorted(folder.glob("*.yaml"))
    ]
    assert [str(item) for file in loaded for item in (*file.problems, *file.warnings)] == []
    return {file.definition.name: file.definition for file in loaded if file.definition}


def test_the_samples_are_valid_work_offline_and_cover_every_mode() -> None:
    agents = samples()
    assert {"customer_support_agent", "data_analyzer", "system_monitor", "example-scheduled"} <= agents.keys()
    assert {agent.execution_mode for agent in agents.values()} == set(ExecutionMode)
    assert {agent.llm_config.provider for agent in agents.values()} == {Provider.SCRIPTED}


def test_the_members_of_the_samples_exist_and_no_command_has_two_owners() -> None:
    agents = samples()
    assert {member for agent in agents.values() for member in agent.collaboration.members} <= agents.keys()
    commands = [command for agent in agents.values() for command in agent.slack.commands]
    assert len(commands) == len(set(commands))


def test_the_readme_of_the_samples_names_each_of_them() -> None:
    readme = (CONFIG / "agents" / "README.md").read_text()
    assert [path.name for path in (CONFIG / "agents").glob("*.yaml") if f"`{path.name}`" not in readme] == []


def test_the_schema_for_editors_is_current() -> None:
    command = "callboard schema agent > config/agent.schema.json"
    assert (CONFIG / "agent.schema.json").read_text() == agent_schema_text(), f"run: {command}"


def test_the_schema_knows_where_a_script_file_may_be() -> None:
    for model in ("LLMSettings", "ModelSettings"):
        script_file = agent_schema()["$defs"][model]["properties"]["script_file"]
        pattern = re.compile(script_file["pattern"])
        assert pattern.search("scripts/weather.yaml")
        assert not any(map(pattern.search, ("weather.yaml", "../weather.yaml", "/etc/x.yaml", "scripts/.x.yaml")))


def test_the_script_files_of_the_samples_are_each_used() -> None:
    folder = CONFIG / "agents"
    named = {script_named(yaml.safe_load(path.read_text())) for path in folder.glob("*.yaml")}
    assert {path.relative_to(folder).as_posix() for path in folder.glob("*/*.yaml")} == named - {None}


def test_the_schema_lets_a_tool_be_a_bare_name() -> None:
    assert agent_schema()["$defs"]["ToolSettings"]["anyOf"][0]["type"] == "string"


@pytest.mark.parametrize("mode", ExecutionMode)
def test_a_new_agent_is_valid_from_the_start(mode: ExecutionMode) -> None:
    loaded = load_agent(agent_template("my-agent", mode).encode(), "my-agent.yaml")
    assert [str(item) for item in (*loaded.problems, *loaded.warnings)] == []
    assert loaded.definition is not None
    assert (loaded.definition.name, loaded.definition.execution_mode) == ("my-agent", mode)


def test_a_new_agent_with_an_impossible_name_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="My Agent"):
        agent_template("My Agent", ExecutionMode.AUTONOMOUS)
