"""An agent with another model than its file names."""

from __future__ import annotations

import pytest

from callboard.config.catalog import CatalogEntry
from callboard.config.definition import AgentDefinition
from callboard.config.model_choice import with_model
from callboard.errors import InvalidInputError

LLM = {
    "provider": "openai",
    "model_id": "gpt-5",
    "temperature": 0.1,
    "base_url": "http://127.0.0.1:1",
    "context_window": 1000,
    "fallback": [{"provider": "ollama", "model_id": "llama3"}],
}


def entry(**changes: object) -> CatalogEntry:
    definition = AgentDefinition.model_validate(
        {"name": "a", "agent_type": "t", "execution_mode": "autonomous", "llm_config": {**LLM, **changes}}
    )
    return CatalogEntry(definition=definition, version=3, digest="d", path="a.yaml", latest=3, latest_digest="d")


def test_the_model_is_another_one_and_stands_alone() -> None:
    chosen = with_model(entry(), "openai/gpt-6")
    settings = chosen.definition.llm_config
    assert (settings.provider.value, settings.model_id, settings.temperature) == ("openai", "gpt-6", 0.1)
    assert (settings.fallback, settings.context_window, settings.base_url) == ((), None, "http://127.0.0.1:1")
    assert (chosen.version, chosen.digest) == (3, "d+openai/gpt-6")


def test_another_provider_is_not_looked_for_at_the_address_of_the_first() -> None:
    settings = with_model(entry(), "bedrock/meta.llama3-1-8b-instruct-v1:0").definition.llm_config
    assert (settings.provider.value, settings.base_url) == ("bedrock", None)


def test_rules_stay_for_who_follows_them() -> None:
    scripted = entry(provider="scripted", model_id="script", base_url=None, script=[{"say": "x"}])
    assert with_model(scripted, "scripted/script").definition.llm_config.script
    assert with_model(scripted, "scripted/echo").definition.llm_config.script == ()


@pytest.mark.parametrize("model", ["gpt-6", "openai/", "/x", "nobody/x", "scripted/else", "scripted/script"])
def test_what_is_no_model_is_refused(model: str) -> None:
    with pytest.raises(InvalidInputError, match="model"):
        with_model(entry(), model)
