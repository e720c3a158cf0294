"""How an agent's models are: asked as usual, left alone after failures, or asked to be left alone; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from callboard.llm.guard_name import model_at, server_at
from callboard.state.provider_states import ProviderState


def models_shown(llm_config: Mapping[str, Any], states: Sequence[ProviderState], now: datetime) -> list[dict[str, Any]]:
    """Of the stored `llm_config`, in the order in which they are asked; `until` is when the next call may go there."""
    known = {state.name: state for state in states}
    return [_shown(model, known, now) for model in (llm_config, *(llm_config.get("fallback") or ()))]


def _shown(model: Mapping[str, Any], known: Mapping[str, ProviderState], now: datetime) -> dict[str, Any]:
    name, model_id = str(model.get("provider")), str(model.get("model_id"))
    shown: dict[str, Any] = {"provider": name, "model_id": model_id, "status": "available"}
    server = server_at(name, model.get("base_url"))
    provider, limited = known.get(server), known.get(model_at(server, model_id))
    if provider is not None and provider.open_until is not None:
        return {**shown, "status": "left_alone", "until": provider.open_until, "reason": provider.reason}
    if limited is not None and limited.cooldown_until is not None and limited.cooldown_until > now:
        return {**shown, "status": "rate_limited", "until": limited.cooldown_until, "reason": limited.reason}
    return shown
