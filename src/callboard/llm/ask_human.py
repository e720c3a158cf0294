"""The one tool that every agent has: asking a person. The engine carries it out itself, by pausing the run."""

from __future__ import annotations

from callboard.llm.provider import ToolSpec

ASK_HUMAN = "ask_human"


def ask_human_spec() -> ToolSpec:
    """How a model sees it."""
    return ToolSpec(
        name=ASK_HUMAN,
        description="Ask the person you work for one question and wait for the answer. Use it when you cannot go on "
        "without a decision or a fact that only a person has.",
        parameters={
            "type": "object",
            "properties": {
                "question": {"type": "string", "minLength": 1, "maxLength": 4000},
                "kind": {"type": "string", "enum": ["input", "choice", "confirmation", "action"]},
                "options": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 25},
                "schema": {
                    "type": "object",
                    "description": "The JSON Schema of an object, where the answer to an input is to be a form.",
                },
            },
            "required": ["question"],
            "additionalProperties": False,
        },
    )
