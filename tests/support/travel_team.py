"""The members of a plan that stops for a person: who finds places, and who asks which it is to be."""

from __future__ import annotations

SCOUT = """
name: scout
agent_type: helper
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{say: "Berlin or Paris"}]}
"""
CHOOSER = """
name: chooser
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {ask: {question: "Where to?", options: [Berlin, Paris]}, say: "{answer}"}
"""
