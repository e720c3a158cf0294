"""What a model is offered is made fit for its wire once, and again when it changes."""

from __future__ import annotations

from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

from callboard.llm.providers.kept_tools import KeptTools


class _Kept(KeptTools, OpenAIChatModel):
    pass


def _offered(name: str) -> ModelRequestParameters:
    schema = {"type": "object", "properties": {"x": {"type": "string", "title": "X"}}, "title": name}
    return ModelRequestParameters(function_tools=[ToolDefinition(name=name, parameters_json_schema=schema)])


def test_the_same_tools_are_made_once_and_as_the_layer_makes_them() -> None:
    wire = OpenAIProvider(base_url="http://127.0.0.1:1/v1", api_key="k")
    kept, plain = _Kept("m", provider=wire), OpenAIChatModel("m", provider=wire)
    first, second = _offered("first"), _offered("second")
    made = kept.customize_request_parameters(first)
    assert made == plain.customize_request_parameters(first) != first
    assert kept.customize_request_parameters(first) is made
    assert kept.customize_request_parameters(second).function_tools[0].name == "second"
    assert kept.customize_request_parameters(first) == made
